// What the page shows: a street with its truth, the two branches' predictions, rules and limits.

import { readAddress, writeAddress } from "../lib/address.js";
import { OTHER, byScore, merge, whoClaims } from "../lib/merge.js";
import { CATEGORIES, THINGS, labelOf } from "../lib/palette.js";
import { matchSegments, panopticQuality } from "../lib/quality.js";
import { SIZE, paintLayers, pixelsOf, windowOf } from "../lib/scene.js";

const box = (x, y, width, height, kind = "rectangle") => ({ kind, x, y, width, height });

// The truth, from the back to the front.
const TRUTH = [
  ["sky", box(0, 0, 48, 17)],
  ["building", box(2, 4, 13, 14)],
  ["road", box(0, 17, 48, 15)],
  ["grass", box(39, 14, 9, 4)],
  ["bus", box(20, 7, 18, 16, "bus")],
  ["car", box(5, 17, 19, 12, "car")],
  ["person", box(41, 13, 5, 15, "person")],
  ["dog", box(31, 24, 8, 7, "dog")],
];
// Where the semantic branch is mistaken.
const MISTAKES = [
  ["sky", box(20, 7, 18, 3)],
  ["sidewalk", box(12, 29, 5, 2)],
];
// The predicted masks: each with its outline, class and score.
const MASKS = {
  A: { ...box(6, 17, 19, 12, "car"), label: "car", score: 0.93 },
  B: { ...box(21, 6, 18, 17, "bus"), label: "bus", score: 0.84 },
  C: { ...box(9, 18, 17, 11, "car"), label: "car", score: 0.71 },
  D: { ...box(41, 14, 5, 14, "person"), label: "person", score: 0.62 },
  E: { ...box(31, 24, 8, 7, "dog"), label: "dog", score: 0.35 },
};
export const LETTERS = Object.keys(MASKS);
export const ALL_STEPS = LETTERS.length + 1; // one for each instance, then stuff
const START = {
  rule: "paper", score: 0.5, overlap: 0.5, area: 16, sure: 0.9, margin: 0, steps: ALL_STEPS,
  chosen: "A", pixel: 18 * SIZE.width + 22,
};
const RULES = {
  rule: ["paper", "softer"],
  score: [0, 1],
  overlap: [0, 1],
  area: [0, 300],
  sure: [0, 1],
  margin: [0, 0.5],
  steps: [0, ALL_STEPS],
  chosen: LETTERS,
  pixel: [0, SIZE.width * SIZE.height - 1],
  ...Object.fromEntries(LETTERS.map((letter) => [letter, readMask])),
};
const WHOLE = ["area", "steps", "pixel"];
const SIDES = [2, 40]; // least and largest, in pixels

export const state = {};
export const masks = {}; // by letter

export function readState(hash) {
  const read = readAddress(hash, RULES);
  for (const [name, value] of Object.entries({ ...START, ...read })) {
    if (name in MASKS) continue;
    state[name] = WHOLE.includes(name) ? Math.round(value) : value;
  }
  for (const letter of LETTERS) masks[letter] = { ...MASKS[letter], ...read[letter] };
}

// A mask in the address: x.y.width.height.class.percent
function readMask(text) {
  const parts = text.split(".");
  const [x, y, width, height, percent] = [0, 1, 2, 3, 5].map((i) => Number(parts[i] || NaN));
  const fits =
    parts.length === 6 &&
    [x, y, width, height, percent].every(Number.isInteger) &&
    Math.abs(x) <= 60 && Math.abs(y) <= 60 &&
    [width, height].every((side) => side >= SIDES[0] && side <= SIDES[1]) &&
    percent >= 0 && percent <= 100 &&
    THINGS.some(({ name }) => name === parts[4]);
  return fits ? { x, y, width, height, label: parts[4], score: percent / 100 } : null;
}

const writeMask = ({ x, y, width, height, label, score }) =>
  [x, y, width, height, label, Math.round(100 * score)].join(".");

// The address: what differs from how the page starts.
export function addressOfState() {
  const different = Object.entries(state).filter(([name, value]) => value !== START[name]);
  for (const letter of LETTERS) {
    const text = writeMask(masks[letter]);
    if (text !== writeMask(MASKS[letter])) different.push([letter, text]);
  }
  return writeAddress(Object.fromEntries(different));
}

// Acts of the reader ---------------------------------------------------------------------------

const within = (value, low, high) => Math.min(high, Math.max(low, value));

// Move the chosen mask; at least a pixel of its box stays in the image.
export function move(dx, dy) {
  const mask = masks[state.chosen];
  mask.x = within(mask.x + dx, 1 - mask.width, SIZE.width - 1);
  mask.y = within(mask.y + dy, 1 - mask.height, SIZE.height - 1);
}

// Make the chosen mask larger on all sides, or smaller.
export function resize(times) {
  const mask = masks[state.chosen];
  const sides = [mask.width + 2 * times, mask.height + 2 * times];
  if (!sides.every((side) => side >= SIDES[0] && side <= SIDES[1])) return;
  [mask.width, mask.height] = sides;
  [mask.x, mask.y] = [mask.x - times, mask.y - times];
  move(0, 0);
}

// Move the pixel that is looked at.
export function lookAt(x, y) {
  state.pixel = within(y, 0, SIZE.height - 1) * SIZE.width + within(x, 0, SIZE.width - 1);
}

// What follows from it -------------------------------------------------------------------------

const nameOf = (name, index) => {
  const { isThing } = CATEGORIES.find((category) => category.name === name);
  return { id: index + 1, name, label: labelOf(name), isThing, isCrowd: false, score: 1 };
};
const layersOf = (rows) => rows.map(([, shape], i) => ({ mask: pixelsOf(shape), value: i + 1 }));

export const truth = {
  idMap: paintLayers(layersOf(TRUTH)),
  segments: TRUTH.map(([name], index) => nameOf(name, index)),
};
// The semantic branch: the true stuff, "other" on things, and its mistakes.
export const labelMap = (() => {
  const mistakes = paintLayers(layersOf(MISTAKES));
  return Uint8Array.from(truth.idMap, (id, pixel) => {
    if (mistakes[pixel]) return labelOf(MISTAKES[mistakes[pixel] - 1][0]);
    const segment = truth.segments[id - 1];
    return segment && !segment.isThing ? segment.label : OTHER;
  });
})();

// Everything that the page shows: instances, their merge up to the chosen step, matches, PQ, and who
// claimed the pixel that is looked at.
export function compute() {
  const instances = LETTERS.map((letter) => {
    const mask = masks[letter];
    return { window: windowOf(pixelsOf(mask)), score: mask.score, label: labelOf(mask.label) };
  });
  const order = byScore(instances);
  const tried = order.slice(0, state.steps).map((index) => instances[index]);
  const all = merge(tried, labelMap, SIZE, {
    minScore: state.score,
    maxOverlap: state.overlap,
    minStuffArea: state.area,
    margin: state.margin,
    stuffConfidence: state.rule === "softer" ? sureMap() : null,
  });
  all.steps.forEach((step) => (step.letter = LETTERS[order[step.index]]));
  const hasStuff = state.steps === ALL_STEPS;
  const merged = hasStuff ? all : withoutStuff(all);
  const claims = whoClaims(state.pixel, tried, labelMap, SIZE, all);
  const matches = matchSegments(truth, merged);
  return {
    instances, order, hasStuff, merged, matches,
    claims: hasStuff ? claims : claims.slice(0, -1),
    quality: panopticQuality([matches], CATEGORIES),
  };
}

const sureMap = () => new Float32Array(labelMap.length).fill(state.sure);

function withoutStuff(all) {
  const segments = all.segments.filter(({ isThing }) => isThing);
  const ids = new Set(segments.map(({ id }) => id));
  return { ...all, idMap: all.idMap.map((id) => (ids.has(id) ? id : 0)), segments, regions: [] };
}
