// What the page shows: settings, which its address holds, and the descents from the point.

import { readAddress, writeAddress } from "../lib/address.js";
import { valueAndGradient } from "../lib/losses.js";
import { gather, makePixels, spread } from "../lib/many.js";
import { OPTIMIZERS, makeOptimizer } from "../lib/optimizers.js";
import { LOSSES, SIMPLEX } from "../lib/palette.js";

const MANY = { rare: makePixels(3, 24), half: makePixels(12, 24) };
export const PIXELS = {
  two: "two pixels",
  rare: "24 pixels, 3 of them foreground",
  half: "24 pixels, 12 of them foreground",
};
const START = {
  pixels: "two", truth: "01", loss: "lovasz_hinge", second: "none", reach: "3", x: 1.5, y: -0.8, yaw: 125,
  pitch: 30, optimizer: "descent", rate: "0.5", simplex: "present", pa: 0.4, pb: 0.6, sure: 0.6,
};
const MAX_REACH = 6;
export const RATES = ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"];
const RULES = {
  pixels: Object.keys(PIXELS),
  truth: ["00", "01", "10", "11"],
  loss: Object.keys(LOSSES),
  second: ["none", ...Object.keys(LOSSES)],
  reach: ["3", "6"],
  x: [-MAX_REACH, MAX_REACH],
  y: [-MAX_REACH, MAX_REACH],
  yaw: [0, 360],
  pitch: [5, 85],
  optimizer: Object.keys(OPTIMIZERS),
  rate: RATES,
  simplex: Object.keys(SIMPLEX),
  pa: [0, 1],
  pb: [0, 1],
  sure: [0, 1],
};
// Seen from the corner where both pixels are right, or slopes hide behind plateaus.
const TURNED = { "00": 35, "01": 125, "11": 215, "10": 305 };
const MAX_STEPS = 1000;
const turned = () => TURNED[hasTwo() ? state.truth : "10"];

export const state = { ...START };
let runs = [];

export const hasTwo = () => state.pixels === "two";
// The truth as numbers, one a pixel.
export const labels = () => (hasTwo() ? [...state.truth].map(Number) : MANY[state.pixels].truth);
// The scores of all pixels at a point of the map.
export const scoresOf = (point) => (hasTwo() ? point : spread(MANY[state.pixels], point));
// The slope along the axes of the map, from the slope by each score.
export const slopeOf = (gradient) => (hasTwo() ? gradient : gather(MANY[state.pixels], gradient));
export const axisNames = () =>
  hasTwo()
    ? ["score of pixel 1", "score of pixel 2"]
    : ["scores of all foreground", "scores of all background"];

// Value and slope of a loss at a point of the map.
export function lossAt(loss, point) {
  const { value, gradient } = valueAndGradient(loss, labels(), scoresOf(point));
  return { value, gradient: slopeOf(gradient) };
}

export const reach = () => Number(state.reach);
// The losses that are shown, one or two.
export const losses = () => [state.loss, state.second].filter((loss) => loss !== "none");
// The value at which heights and colors of a loss end.
export const topOf = (loss) => (LOSSES[loss].top > 1 ? reach() + 1 : 1);

export function readState(hash) {
  Object.assign(state, START, readAddress(hash, RULES));
  if (!("yaw" in readAddress(hash, RULES))) state.yaw = turned();
  state.pb = Math.min(state.pb, 1 - state.pa);
  move(state.x, state.y);
}

export const addressOfState = () => writeAddress(state);

export function turn(yaw, pitch) {
  state.yaw = (((state.yaw + yaw) % 360) + 360) % 360;
  state.pitch = Math.min(85, Math.max(5, state.pitch + pitch));
}

export function turnBack() {
  state.yaw = turned();
  state.pitch = START.pitch;
}

// Put the point somewhere; all descents start there.
export function move(x, y) {
  const within = (v) => Math.min(reach(), Math.max(-reach(), Math.round(v * 1000) / 1000));
  state.x = within(x);
  state.y = within(y);
  restart();
}

// Put the point back where the descents started; if it is there, to where the page starts.
export function moveBack() {
  if (steps() > 0) restart();
  else move(START.x, START.y);
}

// Begin descents anew from the point.
export function restart() {
  runs = [0, 1].map(() => ({
    points: [[state.x, state.y]],
    optimize: makeOptimizer(state.optimizer, Number(state.rate)),
    left: false, // the map
  }));
}

// The points of a loss's descent, the start first.
export const trailOf = (index) => runs[index].points;
export const pointOf = (index) => runs[index].points.at(-1);
export const steps = () => Math.max(...runs.map(({ points }) => points.length - 1));
export const hasLeft = (index) => runs[index].left;

// One step of each loss that is shown; false where none can move any more.
export function stepDown() {
  let moved = false;
  losses().forEach((loss, index) => {
    const run = runs[index];
    if (run.left || run.points.length > MAX_STEPS) return;
    const point = run.points.at(-1);
    const step = run.optimize(lossAt(loss, point).gradient);
    if (step.every((v) => v === 0)) return;
    const next = point.map((v, i) => v + step[i]);
    run.left = next.some((v) => Math.abs(v) > reach());
    run.points.push(next.map((v) => Math.min(reach(), Math.max(-reach(), v))));
    moved = true;
  });
  return moved;
}

// The step after which all pixels stay right, or null.
export function arrivalOf(index) {
  const truth = labels();
  const right = (point) => scoresOf(point).every((v, i) => (truth[i] ? v > 0 : v < 0));
  const points = trailOf(index);
  const last = points.findLastIndex((point) => !right(point));
  return last + 1 < points.length ? last + 1 : null;
}
