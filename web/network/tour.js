// A tour of six steps: each is a state of the page and what to look at.

export const TOUR = [
  {
    title: "From a street to segments",
    text:
      "A street goes in, its segments come out, and in between is everything that the network computes, from fine levels (c2) to coarse ones (c5). " +
      "Each small picture is live: bright means active. Choose another street, and all of them change.",
    address: "#",
    at: "street",
  },
  {
    title: "Hide a car",
    text:
      "Grey paint covers the small car in the middle, as if it were road. Its box, its mask and its segment go. Press Clean: they " +
      "come back. Then paint on other streets: a grey block with a clear outline can stay a car.",
    address: "#street=7&paint=road-68-61-8_road-76-61-8_road-68-67-8_road-76-67-8",
    at: "street",
  },
  {
    title: "One cell, in numbers",
    text:
      "p3 is made of three sums: the lateral 1 × 1 convolution of c3, the level above, and a 3 × 3 convolution. Below, they are " +
      "computed for one cell, and the result is what the network computed. Click another cell.",
    address: "#part=p3&channel=4&x=100&y=90",
    at: "detail",
  },
  {
    title: "Many boxes for one object",
    text:
      "The RPN proposes many boxes for each object. NMS goes through them from the best on and drops those that overlap a kept one " +
      "too much. Drag \"candidate\" and watch which box drops which.",
    address: "#part=proposals&level=p4&item=12",
    at: "detail",
  },
  {
    title: "Cut the top-down path",
    text:
      "Without the top-down path, fine levels know edges but not what they belong to. Look at the segments and at PQ. Then try one " +
      "level cut off, and no smoothing: the heads were trained with both.",
    address: "#topdown=off",
    at: "street",
  },
  {
    title: "Who gets a pixel",
    text:
      "Merging takes one instance at a time. Drag \"step\". Then raise the least score, or lower the part of its mask that an " +
      "instance may lose, and see which segments go and what PQ says.",
    address: "#part=merge&step=2",
    at: "detail",
  },
];
