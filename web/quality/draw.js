// The prediction, the truth, and the board of the proof.

import { line as stroke, themed } from "../lib/canvas.js";
import { fillMap, label, middleOf, openGrid, outline } from "../lib/grid.js";
import { DOT, css, segmentColors } from "../lib/palette.js";
import { SIZE } from "../lib/scene.js";
import { BOARD, TRUE_BOX, boxesOf } from "./proof.js";
import { predictedName, state, trueName } from "./state.js";

const DASHES = { matched: [], wrong: [6, 4], ignored: [2, 4] };
export const A_COLOR = [240, 200, 30];
export const B_COLOR = [201, 106, 174];

// What became of each predicted and each true segment, by id: { kind, iou }.
export function fatesOf({ truth, prediction, matches }) {
  const [ofTruth, ofPrediction] = [truth, prediction].map(
    ({ segments }) => new Map(segments.map(({ id }) => [id, { kind: "wrong", iou: null }])),
  );
  for (const { truth: { id }, predicted, iou } of matches.pairs) {
    ofTruth.set(id, { kind: "matched", iou });
    ofPrediction.set(predicted.id, { kind: "matched", iou });
  }
  for (const segment of matches.ignored) {
    const fates = prediction.segments.includes(segment) ? ofPrediction : ofTruth;
    fates.set(segment.id, { kind: "ignored", iou: null });
  }
  return { ofTruth, ofPrediction };
}

function drawMap(grid, map, fates, { nameOf, words, chosen }) {
  const colors = segmentColors(map.segments);
  fillMap(grid, map.idMap, colors);
  const said = map.segments.map((segment) => {
    const inside = (pixel) => map.idMap[pixel] === segment.id;
    const { kind, iou } = fates.get(segment.id);
    const thick = segment.id === chosen ? 4 : 2;
    outline(grid, inside, { color: "white", thick, dash: DASHES[kind] });
    const text = `${nameOf(segment.id)} ${iou ? iou.toFixed(2) : words[kind]}`;
    return { segment, inside, text };
  });
  for (const { segment, inside, text } of said) {
    label(grid, middleOf(inside, SIZE), text, colors.get(segment.id));
  }
  return said.map(({ text }) => text).join(", ") || "void alone";
}

// `cut` is one that is being drawn, { line }, or chosen for the segment of a mask, { line, mask }, or
// null.
export function drawPrediction(canvas, shown, fates, cut) {
  const words = { wrong: "FP", ignored: "ignored" };
  const chosen = state.chosen + 1;
  const grid = openGrid(canvas, SIZE);
  const said = drawMap(grid, shown.prediction, fates.ofPrediction, { nameOf: predictedName, words, chosen });
  if (cut) drawCut(grid, cut);
  canvas.setAttribute("aria-label", `The predicted segments: ${said}.`);
}

function drawCut({ pen, side }, { line: [x0, y0, x1, y1], mask = null }) {
  const [from, to] = [{ x: x0 * side, y: y0 * side }, { x: x1 * side, y: y1 * side }];
  pen.save();
  if (mask) clipTo(pen, mask, side);
  stroke(pen, from, to, "white", 5);
  stroke(pen, from, to, DOT, 3);
  pen.restore();
}

// Let a pen draw only on the pixels of a mask and close to them.
function clipTo(pen, mask, side) {
  pen.beginPath();
  mask.forEach((covered, pixel) => {
    const [x, y] = [pixel % SIZE.width, Math.floor(pixel / SIZE.width)];
    if (covered) pen.rect((x - 1) * side, (y - 1) * side, 3 * side, 3 * side);
  });
  pen.clip();
}

export function drawTruth(canvas, shown, fates) {
  const words = { wrong: "FN", ignored: "crowd" };
  const chosen = state.trueChosen + 1;
  const grid = openGrid(canvas, SIZE);
  const said = drawMap(grid, shown.truth, fates.ofTruth, { nameOf: trueName, words, chosen });
  if (state.segments[state.chosen]) {
    const inside = (pixel) => shown.prediction.idMap[pixel] === state.chosen + 1;
    outline(grid, inside, { color: css(A_COLOR), thick: 1 });
  }
  canvas.setAttribute("aria-label", `The true segments: ${said}.`);
}

export function drawProof(canvas, { ious, limit }) {
  const grid = openGrid(canvas, BOARD);
  const boxes = boxesOf(state);
  const within = (box) => (pixel) => {
    const [x, y] = [pixel % BOARD.width, Math.floor(pixel / BOARD.width)];
    return x >= box.x && y >= box.y && x < box.x + box.width && y < box.y + box.height;
  };
  const [inA, inB] = boxes.map(within);
  const mayOverlap = state.overlapping === "yes";
  const { pen, side } = grid;
  pen.fillStyle = themed("--page");
  pen.fillRect(0, 0, BOARD.width * side, BOARD.height * side);
  fillBox(grid, TRUE_BOX, themed("--bar"));
  for (let pixel = 0; pixel < BOARD.width * BOARD.height; pixel++) {
    const shares = [inA(pixel), inB(pixel) && (mayOverlap || !inA(pixel))];
    [A_COLOR, B_COLOR].forEach((color, i) => {
      if (!shares[i]) return;
      const [x, y] = [pixel % BOARD.width, Math.floor(pixel / BOARD.width)];
      pen.fillStyle = `rgba(${color.join(",")},.75)`;
      const half = shares[0] && shares[1] ? side / 2 : side; // of a pixel of both
      pen.fillRect(x * side, y * side + (i && half < side ? half : 0), side, half);
    });
  }
  [["A", A_COLOR, inA], ["B", B_COLOR, (p) => inB(p) && (mayOverlap || !inA(p))]].forEach(
    ([name, color, inside], i) => {
      outline(grid, inside, { color: css(color), thick: state.mover === name ? 3 : 1 });
      const middle = middleOf(inside, BOARD);
      if (middle !== null) label(grid, middle, `${name} ${ious[i].toFixed(2)}`, color);
    },
  );
  outline(grid, within(TRUE_BOX), { color: DOT, thick: 3 });
  label(grid, (TRUE_BOX.y - 1) * BOARD.width + TRUE_BOX.x + 1, "T", [255, 255, 255]);
  const words = ious.map((iou, i) => `IoU of ${"AB"[i]} ${iou.toFixed(2)}`).join(", ");
  canvas.setAttribute("aria-label", `T with two predictions: ${words}; the limit is ${limit.toFixed(2)}.`);
}

function fillBox({ pen, side }, { x, y, width, height }, color) {
  pen.fillStyle = color;
  pen.fillRect(x * side, y * side, width * side, height * side);
}
