// A tour of six steps: each is a state of the page and what to look at.

export const TOUR = [
  {
    title: "The highest score first",
    text:
      "Nothing is merged yet. Drag \"Steps of the merge\" to the right, one step at a time: A comes " +
      "first because its score is the highest, and takes all of its mask. B gets what is left of its own.",
    address: "#steps=0",
  },
  {
    title: "A mask that is mostly hidden goes",
    text:
      "C is a second detection of the car A. Most of its mask is taken already, so it is dropped. " +
      "Raise what a mask may lose to 95 %: a rest of C comes back, and PQ falls.",
    address: "#chosen=C&pixel=1127&steps=3",
  },
  {
    title: "Instances win over stuff",
    text:
      "The semantic branch says sky on the roof of the bus. The square stands there: in the paper " +
      "the mask of the bus wins, although the sky is more probable (0.90) than the bus (0.84).",
    address: "#pixel=414",
  },
  {
    title: "The softer rule",
    text:
      "Now the more confident side wins, and the sky takes the roof. Raise the margin to 0.07: the " +
      "bus gets its roof back. Put it back to 0 and lower the probability of stuff below 0.84: the same.",
    address: "#rule=softer&pixel=414&chosen=B",
  },
  {
    title: "Small stuff and void",
    text:
      "The semantic branch says sidewalk at 10 pixels below the car, by mistake. A region of stuff that " +
      "is too small gets no segment. Lower the least area to 10: one false positive more.",
    address: "#area=16&pixel=1453",
  },
  {
    title: "The least score",
    text:
      "The dog E is right, but its score is only 0.35, so its pixels become void: one missed segment. " +
      "Lower the least score to 0.35. Then drag E away from the dog and see what a false positive costs.",
    address: "#chosen=E&pixel=1283",
  },
];
