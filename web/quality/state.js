// What the page shows: a truth, and a prediction of segments that the reader changes.
//
// The prediction is made of layers, the first at the back: each has an outline, which is moved and
// grown, and covers what lies below. So every pixel has at most one segment, whatever is done.

import { readAddress, writeAddress } from "../lib/address.js";
import { VOID } from "../lib/merge.js";
import { CATEGORIES, THINGS, labelOf } from "../lib/palette.js";
import {
  averagePrecision, candidatePairs, countOverlaps, labelMapOf, matchSegments, panopticQuality,
  semanticQuality, thingsOf,
} from "../lib/quality.js";
import { SIZE, paintLayers, pixelsOf } from "../lib/scene.js";
import { divide, isCut, lineAcross, moved } from "./cut.js";
import { PROOF_RULES, PROOF_START } from "./proof.js";

const box = (x, y, width, height, kind = "rectangle") => ({ kind, x, y, width, height });

// From the back to the front; the names of things that occur twice are told apart by a number.
const TRUTH = [
  ["sky", "sky", box(0, 0, 48, 17)],
  ["building", "building", box(2, 3, 12, 14)],
  ["road", "road", box(0, 17, 48, 15)],
  ["people", "person", box(16, 12, 12, 6), "crowd"],
  ["sign", "balloon", box(41, 4, 4, 14), "void"],
  ["bus", "bus", box(28, 8, 12, 13, "bus")],
  ["car 1", "car", box(3, 17, 16, 10, "car")],
  ["car 2", "car", box(22, 21, 15, 9, "car")],
  ["person", "person", box(41, 17, 5, 14, "person")],
];
const PREDICTION = [
  ["sky", box(0, 0, 48, 17), 1],
  ["building", box(2, 4, 12, 13), 1],
  ["road", box(0, 17, 48, 15), 1],
  ["person", box(17, 12, 4, 6), 0.6],
  ["person", box(42, 5, 4, 12), 0.4],
  ["bus", box(29, 8, 12, 13, "bus"), 0.9],
  ["car", box(4, 18, 16, 10, "car"), 0.95],
  ["car", box(26, 22, 15, 9, "car"), 0.7],
  ["person", box(41, 17, 5, 14, "person"), 0.8],
];
const MAX_SEGMENTS = 16;
const FAR = 60; // pixels that a segment may move
export const STATUSES = ["normal", "crowd", "void"];
export const NUM_TRUE = TRUTH.length;
const STATUS = TRUTH.map(([, , , status]) => status ?? "normal");

export const state = {};
let past = []; // earlier states, for undo

// A predicted segment: the outline that it is made from, how far that is moved and grown, its cuts (see
// cut.js), class and score.
const fresh = () =>
  PREDICTION.map(([name, , score], source) => ({
    source, dx: 0, dy: 0, grown: 0, cuts: [], name, score,
  }));
// How Split cuts: the angle of the line in degrees, where 90 is upright, and its position in percent of
// the segment's extent across it.
const CUT_START = { angle: 90, position: 50 };
const startState = () => ({
  segments: fresh(), statuses: [...STATUS], chosen: 7, trueChosen: 7, ...CUT_START, ...PROOF_START,
});

// Address --------------------------------------------------------------------------------------

const RULES = {
  p: readSegments,
  t: readStatuses,
  chosen: [0, MAX_SEGMENTS - 1],
  true: [0, NUM_TRUE - 1],
  angle: [0, 175],
  position: [1, 99],
  ...PROOF_RULES,
};

// Segments in the address: source.dx.dy.grown.cuts.class.percent, with _ between two; the numbers of
// all cuts in a row, with * between two.
function readSegments(text) {
  if (text === "none") return [];
  const segments = text.split("_").map(readSegment);
  return segments.length <= MAX_SEGMENTS && segments.every(Boolean) ? segments : null;
}

function readSegment(text) {
  const parts = text.split(".");
  const [source, dx, dy, grown, , , percent] = parts.map((part) => Number(part || NaN));
  const name = parts[5];
  const cuts = readCuts(parts[4] ?? "");
  const fits =
    parts.length === 7 &&
    [source, dx, dy, grown, percent].every(Number.isInteger) &&
    source >= 0 && source < PREDICTION.length &&
    Math.abs(dx) <= FAR && Math.abs(dy) <= FAR && Math.abs(grown) <= 8 &&
    cuts !== null && percent >= 0 && percent <= 100 &&
    CATEGORIES.some((category) => category.name === name);
  return fits ? { source, dx, dy, grown, cuts, name, score: percent / 100 } : null;
}

function readCuts(text) {
  if (text === "") return [];
  const numbers = text.split("*").map((part) => Number(part || NaN));
  const cuts = [];
  for (let at = 0; at < numbers.length; at += 6) cuts.push(numbers.slice(at, at + 6));
  return cuts.length < MAX_SEGMENTS && cuts.every(isCut) ? cuts : null;
}

function readStatuses(text) {
  const statuses = [...text].map((digit) => STATUSES[digit]);
  return statuses.length === NUM_TRUE && statuses.every(Boolean) ? statuses : null;
}

const writeSegments = (segments) =>
  segments
    .map(({ source, dx, dy, grown, cuts, name, score }) =>
      [source, dx, dy, grown, cuts.flat().join("*"), name, Math.round(100 * score)].join("."),
    )
    .join("_") || "none";
const writeStatuses = (statuses) => statuses.map((status) => STATUSES.indexOf(status)).join("");

export function readState(hash) {
  const { p, t, chosen, true: trueChosen, ...rest } = readAddress(hash, RULES);
  const start = startState();
  Object.assign(state, start, rest, {
    segments: p ?? start.segments,
    statuses: t ?? start.statuses,
    trueChosen: Math.round(trueChosen ?? start.trueChosen),
    angle: Math.round(rest.angle ?? start.angle),
    position: Math.round(rest.position ?? start.position),
  });
  choose(Math.round(chosen ?? start.chosen));
  past = [];
}

// The address: what differs from how the page starts.
export function addressOfState() {
  const start = startState();
  const pairs = [
    ["p", writeSegments(state.segments), writeSegments(start.segments)],
    ["t", writeStatuses(state.statuses), writeStatuses(start.statuses)],
    ["chosen", state.chosen, start.chosen],
    ["true", state.trueChosen, start.trueChosen],
    ...Object.keys({ ...CUT_START, ...PROOF_START }).map((name) => [name, state[name], start[name]]),
  ];
  return writeAddress(
    Object.fromEntries(pairs.filter(([, now, then]) => now !== then).map(([name, now]) => [name, now])),
  );
}

// Acts of the reader ---------------------------------------------------------------------------

const within = (value, low, high) => Math.min(high, Math.max(low, value));
const current = () => state.segments[state.chosen];

export function choose(index) {
  state.chosen = within(index, 0, Math.max(0, state.segments.length - 1));
}

export function chooseTrue(index) {
  state.trueChosen = within(index, 0, NUM_TRUE - 1);
}

export function restartProof() {
  Object.assign(state, PROOF_START);
}

// Keep what is there for undo; acts in a row of one kind of drag are undone as one.
export function keep(kind) {
  if (past.at(-1)?.kind === kind && kind.startsWith("drag")) return;
  past.push({ kind, segments: state.segments.map((each) => ({ ...each })), statuses: [...state.statuses] });
  if (past.length > 100) past.shift();
}

export function undo() {
  const before = past.pop();
  if (!before) return;
  Object.assign(state, { segments: before.segments, statuses: before.statuses });
  choose(state.chosen);
}
export const canUndo = () => past.length > 0;

export function move(dx, dy) {
  if (!current()) return;
  current().dx = within(current().dx + dx, -FAR, FAR);
  current().dy = within(current().dy + dy, -FAR, FAR);
}

export function growBy(times) {
  if (current()) current().grown = within(current().grown + times, -8, 8);
}

// The line along which Split cuts the chosen segment, [x0, y0, x1, y1] in pixels of the image, or null.
export function cutLine() {
  return chosenCut()?.line ?? null;
}

// That line with the mask that it cuts, { line, mask }, or null.
export function chosenCut() {
  const mask = current() && maskOf(current());
  const line = mask && lineAcross(mask, state);
  return line ? { line, mask } : null;
}

// Cut the chosen segment into two along a line, which goes on beyond its ends. Returns whether both
// have a pixel; if not, nothing is changed.
export function split(line = cutLine()) {
  if (!canSplit(line)) return false;
  state.segments.splice(state.chosen, 1, ...halves(current(), line));
  return true;
}

export function canSplit(line = cutLine()) {
  if (!line || !current() || state.segments.length >= MAX_SEGMENTS) return false;
  return halves(current(), line).every((half) => maskOf(half).includes(1));
}

function halves(segment, line) {
  const own = moved(line, -segment.dx, -segment.dy); // as seen from the outline
  return [0, 1].map((side) => ({ ...segment, cuts: [...segment.cuts, [segment.grown, ...own, side]] }));
}

// Choose the segment in the middle of a line that the reader has drawn.
export function chooseUnder(line) {
  const [x, y] = [line[0] + line[2], line[1] + line[3]].map((sum) => Math.floor(sum / 2));
  const pixel = within(y, 0, SIZE.height - 1) * SIZE.width + within(x, 0, SIZE.width - 1);
  const id = predictionOf().idMap[pixel];
  if (id) choose(id - 1);
}

export function remove() {
  state.segments.splice(state.chosen, 1);
  choose(state.chosen);
}

// What follows from it -------------------------------------------------------------------------

// The pixels of a segment before others cover it.
export function maskOf({ source, dx, dy, grown, cuts }) {
  const mask = divide(pixelsOf(PREDICTION[source][1]), cuts, grown);
  const shifted = new Uint8Array(mask.length);
  mask.forEach((covered, pixel) => {
    const [x, y] = [(pixel % SIZE.width) + dx, Math.floor(pixel / SIZE.width) + dy];
    if (covered && x >= 0 && y >= 0 && x < SIZE.width && y < SIZE.height) {
      shifted[y * SIZE.width + x] = 1;
    }
  });
  return shifted;
}

const isThing = (name) => THINGS.some((category) => category.name === name);
const listed = (map, segments) => {
  const present = new Set(map);
  return { idMap: map, segments: segments.filter(({ id }) => present.has(id)) };
};

export function truthOf() {
  const layers = TRUTH.map(([, , shape], i) => ({
    mask: pixelsOf(shape),
    value: state.statuses[i] === "void" ? VOID : i + 1,
  }));
  const segments = TRUTH.map(([, name], i) => ({
    id: i + 1, label: labelOf(name), isThing: isThing(name), score: 1,
    isCrowd: state.statuses[i] === "crowd",
  }));
  return listed(paintLayers(layers), segments);
}

// The true segment at a pixel, whether it is void or not; they cover the whole image.
export function trueAt(pixel) {
  return TRUTH.findLastIndex(([, , shape]) => pixelsOf(shape)[pixel]);
}

export function predictionOf() {
  const layers = state.segments.map((segment, i) => ({ mask: maskOf(segment), value: i + 1 }));
  const segments = state.segments.map(({ name, score }, i) => ({
    id: i + 1, label: labelOf(name), isThing: isThing(name), score, isCrowd: false,
  }));
  return listed(paintLayers(layers), segments);
}

export const trueName = (id) => TRUTH[id - 1][0];
export const trueKind = (id) => TRUTH[id - 1][1];

// The name of a predicted segment: its class, with a number where the class occurs twice.
export function predictedName(id) {
  const { name } = state.segments[id - 1];
  const same = state.segments.map((each, i) => [each.name, i + 1]).filter(([other]) => other === name);
  return same.length > 1 ? `${name} ${same.findIndex(([, number]) => number === id) + 1}` : name;
}

// Everything that the page shows.
export function compute() {
  const [truth, prediction] = [truthOf(), predictionOf()];
  const matches = matchSegments(truth, prediction);
  const overlaps = countOverlaps(truth.idMap, prediction.idMap);
  const onVoid = new Map(overlaps.pairs.filter(([gt]) => gt === VOID).map(([, pred, n]) => [pred, n]));
  const quality = panopticQuality([matches], CATEGORIES);
  const maps = [truth, prediction].map((map) => labelMapOf(map, THINGS.length));
  return {
    truth, prediction, matches, quality, overlaps,
    candidates: candidatePairs(truth, prediction, overlaps, onVoid),
    semantic: semanticQuality([{ truth: maps[0], predicted: maps[1] }], CATEGORIES.length),
    ap: averagePrecision([thingsOf(truth, prediction)]),
  };
}
