// A tour of six steps: each is a state of the page and what to look at.

export const TOUR = [
  {
    title: "The cliff at one half",
    text:
      "The predicted car 2 has an IoU of 0.44 with the true one: no match, so it costs twice, a false " +
      "positive and a false negative. Move it to the left: at 0.5 PQ leaps, mean IoU grows smoothly.",
    address: "#chosen=7",
  },
  {
    title: "Split",
    text:
      "Press Split: the bus is two halves, and none reaches an IoU above 0.5. PQ loses the match and " +
      "counts two false positives. Mean IoU does not see it: every pixel still has its class. Press Undo, bring " +
      "the position of the cut to 20 % and split again: the larger part still matches.",
    address: "#chosen=5&true=5",
  },
  {
    title: "Relabel",
    text:
      "Make the predicted bus a car: one class loses a segment, the other gets one too many. All three " +
      "scores fall. Then press Undo and delete it: PQ keeps the false negative, but not the false positive.",
    address: "#chosen=5&true=5",
  },
  {
    title: "Void and crowd",
    text:
      "Person 2 lies on void, person 1 on a crowd of people: neither counts, both are ignored. Move " +
      "person 1 down until less than half of it is on the crowd: now it is a false positive.",
    address: "#chosen=3&true=3",
  },
  {
    title: "What only AP sees",
    text:
      "Lower the score of car 1 below that of car 2, which is wrong: AP falls, because a wrong " +
      "detection comes first. PQ and mean IoU stay: in a merged map no score is left.",
    address: "#chosen=6&true=6",
  },
  {
    title: "Try to break the proof",
    text:
      "Below: can A and B both match T? Let the page try 20,000 pairs: 0.50 is the best that it finds. " +
      "Then lower the limit, or let A and B overlap: both of the proof's conditions are needed.",
    address: "#mover=B",
    at: "proof-title",
  },
];
