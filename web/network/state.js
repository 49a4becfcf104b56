// The state of the page, which its address holds: the street, what is painted on it, the part that is
// open, what is chosen in it, what is cut off, and the limits of merging.

import { readAddress, writeAddress } from "../lib/address.js";

export const SIZE = { width: 192, height: 128 };
export const NUM_STREETS = 20;
export const PARTS = [
  "image", "c5", "c4", "c3", "c2", "p5", "p4", "p3", "p2", "p6",
  "s5", "s4", "s3", "s2", "labels", "objectness", "proposals", "detections", "masks", "merge", "quality",
];
export const BRUSHES = {
  road: { name: "road", color: [103, 103, 106] },
  sky: { name: "sky", color: [150, 200, 240] },
  pole: { name: "pole, dark", color: [40, 40, 45] },
  car: { name: "car, red", color: [190, 40, 40] },
  grass: { name: "grass", color: [110, 160, 80] },
  white: { name: "white", color: [245, 245, 245] },
};
export const CUTS = ["none", "p2", "p3", "p4", "p5"];
export const BRANCHES = ["both", "stuff", "instances"];
export const MAX_DABS = 1000; // what an address can hold

export const START = {
  street: 8, part: "merge", channel: 0, x: 88, y: 84, item: 0, level: "p3", class: 3,
  topdown: "on", smooth: "on", cut: "none", branch: "both",
  score: 0.5, overlap: 0.5, area: 64, rule: "paper", margin: 0, step: 99, pixel: 110 + 90 * SIZE.width,
  paint: "", own: "no",
};
export const RULES = {
  street: [0, NUM_STREETS - 1],
  part: PARTS,
  channel: [0, 255],
  x: [0, SIZE.width - 1],
  y: [0, SIZE.height - 1],
  item: [0, 9999],
  level: ["p2", "p3", "p4", "p5", "p6"],
  class: [0, 5],
  topdown: ["on", "off"],
  smooth: ["on", "off"],
  cut: CUTS,
  branch: BRANCHES,
  score: [0, 1],
  overlap: [0, 1],
  area: [0, 4000],
  rule: ["paper", "softer"],
  margin: [0, 0.5],
  step: [0, 99],
  pixel: [0, SIZE.width * SIZE.height - 1],
  paint: (text) => (readPaint(text) ? text : null),
  own: ["yes"],
};
const WHOLE = ["street", "channel", "x", "y", "item", "class", "area", "step", "pixel"];

export function readState(hash) {
  const state = { ...START, ...readAddress(hash, RULES) };
  for (const name of WHOLE) state[name] = Math.floor(state[name]);
  return state;
}

// The address of a state: what differs from the start. It cannot hold a picture of one's own, nor
// says it what is painted on that, but that there was one.
export function addressOf(state) {
  const left = state.own === "yes" ? ["street", "paint"] : [];
  const changed = Object.entries(state).filter(
    ([name, value]) => name in START && value !== START[name] && !left.includes(name),
  );
  return writeAddress(Object.fromEntries(changed));
}

// What is painted, as text: one dab after the other, "road 96 80 6" joined by "_"; null where it
// cannot be read.
export function readPaint(text) {
  if (text === "") return [];
  const dabs = text.split("_").map((part) => {
    const [brush, ...numbers] = part.split("-");
    const [x, y, radius] = numbers.map(Number);
    return { brush, x, y, radius };
  });
  const isFine = ({ brush, x, y, radius }) =>
    Object.hasOwn(BRUSHES, brush) && x >= 0 && x < SIZE.width && y >= 0 && y < SIZE.height && radius >= 1 && radius <= 40;
  return dabs.length <= MAX_DABS && dabs.every(isFine) ? dabs : null;
}

export const writePaint = (dabs) =>
  dabs.map(({ brush, x, y, radius }) => `${brush}-${x}-${y}-${radius}`).join("_");

// Put dabs onto an image of planar RGB bytes; each is a disc.
export function paintDabs(image, dabs) {
  const painted = image.slice();
  const num = SIZE.width * SIZE.height;
  for (const { brush, x, y, radius } of dabs) {
    const { color } = BRUSHES[brush];
    for (let row = Math.max(0, y - radius); row <= Math.min(SIZE.height - 1, y + radius); row++) {
      for (let column = Math.max(0, x - radius); column <= Math.min(SIZE.width - 1, x + radius); column++) {
        if (Math.hypot(column - x, row - y) > radius) continue;
        color.forEach((value, c) => (painted[c * num + row * SIZE.width + column] = value));
      }
    }
  }
  return painted;
}
