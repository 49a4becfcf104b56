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

// The classes of the drawn world, as pfpn.data.toy has them: things by ascending id, then stuff.
export const CATEGORIES = [
  { id: 1, name: "person", isThing: true, color: [202, 76, 0] },
  { id: 2, name: "dog", isThing: true, color: [94, 16, 1] },
  { id: 3, name: "car", isThing: true, color: [0, 124, 215] },
  { id: 4, name: "bus", isThing: true, color: [240, 200, 30] },
  { id: 5, name: "tree", isThing: true, color: [34, 95, 63] },
  { id: 6, name: "balloon", isThing: true, color: [201, 106, 174] },
  { id: 21, name: "sky", isThing: false, color: [147, 227, 246] },
  { id: 22, name: "building", isThing: false, color: [169, 141, 131] },
  { id: 23, name: "road", isThing: false, color: [84, 71, 99] },
  { id: 24, name: "sidewalk", isThing: false, color: [222, 217, 185] },
  { id: 25, name: "grass", isThing: false, color: [132, 175, 92] },
];
export const THINGS = CATEGORIES.filter(({ isThing }) => isThing);
export const STUFF = CATEGORIES.filter(({ isThing }) => !isThing);
export const VOID_COLOR = [40, 40, 44]; // of pixels without a segment

// The category of a segment's label: things are numbered from 0, stuff from 1.
export const categoryOf = ({ label, isThing }) => (isThing ? THINGS[label] : STUFF[label - 1]);
// The label of a class's name.
export const labelOf = (name) => {
  const things = THINGS.findIndex((category) => category.name === name);
  return things >= 0 ? things : 1 + STUFF.findIndex((category) => category.name === name);
};

// How much the color of an instance differs from its class's: towards white (+) or black (-).
const SHADES = [0, 0.3, -0.28, 0.52, -0.48, 0.16, -0.14, 0.42];

// The shade of a class's color for its instance `number`, from 0 up.
export function instanceColor(color, number) {
  const shade = SHADES[number % SHADES.length];
  return color.map((part) => roundHalfEven(part + ((shade > 0 ? 255 : 0) - part) * Math.abs(shade)));
}

// As Python rounds.
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

// The color of each segment by its id: its class's, in shades for things.
export function segmentColors(segments) {
  const seen = new Map();
  return new Map(
    segments.map((segment) => {
      const { id, color } = categoryOf(segment);
      const number = seen.get(id) ?? 0;
      seen.set(id, number + 1);
      return [segment.id, segment.isThing ? instanceColor(color, number) : color];
    }),
  );
}

// Black or white, whichever is easier to read on a color.
export const inkOn = ([red, green, blue]) =>
  0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "black" : "white";

// The color [r, g, b] at a fraction of the way from low to high.
export function colorAt(fraction) {
  const at = Math.min(1, Math.max(0, fraction)) * (COLORS.length - 1);
  const low = COLORS[Math.floor(at)];
  const high = COLORS[Math.ceil(at)];
  return low.map((v, i) => Math.round(v + (high[i] - v) * (at % 1)));
}

export const css = (rgb) => `rgb(${rgb.join(",")})`;
