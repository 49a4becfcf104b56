// Names, limits and colors that the pages share with Python's pictures: pfpn.plot.surface.

// Title, and the value at which heights and colors end for scores up to 3.
export const LOSSES = {
  jaccard: { title: "Jaccard loss (discrete)", top: 1 },
  hinge: { title: "hinge, mean", top: 4 },
  cross_entropy: { title: "cross-entropy, mean", top: 4 },
  soft_jaccard: { title: "soft Jaccard", top: 1 },
  dice: { title: "Dice", top: 1 },
  lovasz_hinge: { title: "Lovász hinge", top: 4 },
  lovasz_softmax: { title: "Lovász-Softmax", top: 1 },
  lovasz_softmax_present: { title: "Lovász-Softmax, default", top: 1 },
};

// Losses over the probabilities of three classes: pfpn.course.ch07_surfaces.simplex.
export const SIMPLEX = {
  miou_loss: { title: "1 - mIoU, present classes", top: 1 },
  cross_entropy: { title: "cross-entropy", top: 3 },
  present: { title: "Lovász-Softmax, present classes", top: 1 },
  all: { title: "Lovász-Softmax, all classes", top: 1 },
};

export const DOT = "#e3120b";

// 32 colors of matplotlib's viridis, from low to high.
export const COLORS = [
  [68, 1, 84], [71, 13, 96], [72, 24, 106], [72, 35, 116],
  [71, 46, 124], [69, 56, 130], [66, 65, 134], [62, 74, 137],
  [58, 84, 140], [54, 93, 141], [50, 101, 142], [46, 109, 142],
  [43, 117, 142], [40, 125, 142], [37, 132, 142], [34, 140, 141],
  [31, 148, 140], [30, 156, 137], [32, 163, 134], [37, 171, 130],
  [46, 179, 124], [58, 186, 118], [72, 193, 110], [88, 199, 101],
  [108, 205, 90], [127, 211, 78], [147, 215, 65], [168, 219, 52],
  [192, 223, 37], [213, 226, 26], [234, 229, 26], [253, 231, 37],
];

// The color [r, g, b] at a fraction of the way from low to high.
export function colorAt(fraction) {
  const at = Math.min(1, Math.max(0, fraction)) * (COLORS.length - 1);
  const low = COLORS[Math.floor(at)];
  const high = COLORS[Math.ceil(at)];
  return low.map((v, i) => Math.round(v + (high[i] - v) * (at % 1)));
}

export const css = (rgb) => `rgb(${rgb.join(",")})`;
