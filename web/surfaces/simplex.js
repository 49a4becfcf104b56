// The simplex: a loss of two pixels over the first one's probabilities of three classes.

import { copyLayer, disc, prepare, themed } from "../lib/canvas.js";
import { simplexLoss } from "../lib/losses.js";
import { SIMPLEX, colorAt, css } from "../lib/palette.js";
import { state } from "./state.js";

const STEPS = 36; // of the grid, along each side
const NAMES = ["A", "B", "C"];
const $ = (id) => document.getElementById(id);

// Probabilities of the two pixels, classes A, B, C.
export const firstPixel = () => [state.pa, state.pb, Math.max(0, 1 - state.pa - state.pb)];
export const secondPixel = () => [(1 - state.sure) / 2, state.sure, (1 - state.sure) / 2];

// Take the probabilities of the first pixel from any three numbers: no negative ones, sum 1.
export function setFirst(numbers) {
  const within = numbers.map((p) => Math.max(0, p));
  const total = within.reduce((sum, p) => sum + p, 0);
  [state.pa, state.pb] = within.map((p) => Math.round((1000 * p) / total) / 1000);
  state.pb = Math.min(state.pb, 1 - state.pa);
}

// Where the corners A, B and C are drawn on a canvas of this size.
const cornersIn = (width, height) => [
  [width / 2, 26],
  [28, height - 26],
  [width - 28, height - 26],
];

const mix = (corners, probs) => {
  const [x, y] = [0, 1].map((axis) => corners.reduce((sum, c, i) => sum + probs[i] * c[axis], 0));
  return { x, y };
};

export function drawSimplex(canvas) {
  const { pen, width, height } = prepare(canvas, 0.86);
  const corners = cornersIn(width, height);
  const key = ["simplex", state.simplex, state.sure];
  copyLayer(pen, key, (brush) => drawCells(brush, corners));
  pen.fillStyle = themed("--ink");
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  NAMES.forEach((name, i) => pen.fillText(name, corners[i][0], corners[i][1] + (i ? 15 : -15)));
  disc(pen, mix(corners, firstPixel()));
  writeTable(canvas);
}

function drawCells(pen, corners) {
  const at = (i, j) => [i / STEPS, j / STEPS, (STEPS - i - j) / STEPS];
  const { top } = SIMPLEX[state.simplex];
  for (let i = 0; i < STEPS; i++) {
    for (let j = 0; i + j < STEPS; j++) {
      paint([at(i, j), at(i + 1, j), at(i, j + 1)]);
      if (i + j + 1 < STEPS) paint([at(i + 1, j), at(i, j + 1), at(i + 1, j + 1)]);
    }
  }
  function paint(ring) {
    const middle = NAMES.map((_, c) => ring.reduce((sum, probs) => sum + probs[c], 0) / 3);
    pen.fillStyle = css(colorAt(simplexLoss(state.simplex, middle, secondPixel()) / top));
    pen.strokeStyle = pen.fillStyle; // else the ground is seen between the cells
    pen.lineWidth = 0.8;
    pen.beginPath();
    for (const probs of ring) {
      const { x, y } = mix(corners, probs);
      pen.lineTo(x, y);
    }
    pen.closePath();
    pen.fill();
    pen.stroke();
  }
}

// The probabilities under a pointer.
export function probsAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const [a, b, c] = cornersIn(box.width, box.height);
  const height = (b[1] - (event.clientY - box.top)) / (b[1] - a[1]);
  const across = (event.clientX - box.left - b[0]) / (c[0] - b[0]);
  const right = across - height / 2;
  return [height, 1 - height - right, right];
}

function writeTable(canvas) {
  const [first, second] = [firstPixel(), secondPixel()];
  const text = (probs) => NAMES.map((name, c) => `${name} ${probs[c].toFixed(2)}`).join(", ");
  const rows = Object.entries(SIMPLEX).map(([loss, { title }]) => {
    const value = simplexLoss(loss, first, second).toFixed(3);
    return `<tr><th scope="row">${title}</th><td>${value}</td></tr>`;
  });
  $("simplex-table").innerHTML =
    `<caption>first pixel: ${text(first)}; second pixel: ${text(second)}</caption>` + rows.join("");
  $("sure").value = state.sure;
  $("sure-out").textContent = state.sure.toFixed(2);
  const value = simplexLoss(state.simplex, first, second).toFixed(3);
  canvas.setAttribute(
    "aria-label",
    `Triangle of probabilities, ${SIMPLEX[state.simplex].title}: ${value} at ${text(first)}.`,
  );
}
