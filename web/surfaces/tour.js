// A tour of six steps: each is a state of the page and what to look at.

export const TOUR = [
  {
    title: "The score itself",
    text:
      "The discrete Jaccard loss of two pixels: flat quadrants. Press One step: the point stays, " +
      "because the gradient is 0.",
    address: "#truth=01&loss=jaccard&x=1.5&y=-0.8",
  },
  {
    title: "The Lovász hinge",
    text:
      "It meets the Jaccard loss at the black dots and is linear between kinks. Press Play: the " +
      "point moves straight down a facet, meets the kink, and goes on along it.",
    address: "#truth=01&loss=lovasz_hinge&x=0.4&y=-2.6",
  },
  {
    title: "A plateau",
    text:
      "Lovász-Softmax is bounded by 1, so it is nearly flat where a pixel is surely wrong. Press " +
      "Play: the point creeps. Then choose Adam with rate 0.1 and play again.",
    address: "#truth=01&loss=lovasz_softmax&reach=6&x=5&y=-5&rate=2",
  },
  {
    title: "Which classes count",
    text:
      "Left the foreground alone, right the default, the mean over both classes. Move the point " +
      "from the lower left to the upper right: only on the right both mistakes cost the same.",
    address: "#truth=01&loss=lovasz_softmax&second=lovasz_softmax_present&reach=6&x=-4&y=-4",
  },
  {
    title: "Many pixels",
    text:
      "24 pixels, 3 of them foreground. One axis moves the scores of all foreground, the other " +
      "those of all background. Compare with 12 foreground pixels: the rarer a class is, the more " +
      "each of its pixels matters.",
    address: "#pixels=rare&loss=lovasz_hinge&second=cross_entropy&reach=6&x=-2&y=2",
  },
  {
    title: "Three classes",
    text:
      "Below, a pixel that truly shows A. It has 0.4 for A and 0.6 for B, a class of the other " +
      "pixel. Move it to 0.6 for C, which is in neither: cross-entropy stays, Lovász-Softmax falls.",
    address: "#simplex=present&pa=0.4&pb=0.6&sure=0.6",
    at: "simplex-title",
  },
];
