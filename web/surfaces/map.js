// The surface from above: colors, level lines, the point.

import { arrow, disc, prepare, themed } from "../lib/canvas.js";
import { valueAndGradient } from "../lib/losses.js";
import { LOSSES, colorAt, css } from "../lib/palette.js";
import { cells, contour, makeSurface } from "../lib/surface.js";
import { REACH, labels, state } from "./state.js";

const PAD = { left: 44, right: 14, top: 14, bottom: 44 };

const sideOf = (width, height) =>
  Math.min(width - PAD.left - PAD.right, height - PAD.top - PAD.bottom);

export function drawMap(canvas) {
  const { pen, width, height } = prepare(canvas, 0.95);
  const { top } = LOSSES[state.loss];
  const side = sideOf(width, height);
  const x = (v) => PAD.left + ((v + REACH) / (2 * REACH)) * side;
  const y = (v) => PAD.top + ((REACH - v) / (2 * REACH)) * side;
  const surface = makeSurface(state.loss, labels(), REACH, 61);
  drawCells(pen, surface, top, x, y);
  if (state.loss !== "jaccard") drawContours(pen, surface, top, x, y);
  drawLabels(pen, x, y);
  drawPoint(pen, x, y);
}

// The scores under a pointer.
export function scoresAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const side = sideOf(box.width, box.height);
  return [
    ((event.clientX - box.left - PAD.left) / side) * 2 * REACH - REACH,
    REACH - ((event.clientY - box.top - PAD.top) / side) * 2 * REACH,
  ];
}

function drawCells(pen, surface, top, x, y) {
  const { axis } = surface;
  for (const { ring, mean } of cells(surface)) {
    const [[i, j]] = ring;
    pen.fillStyle = css(colorAt(mean / top));
    pen.fillRect(
      x(axis[j]), y(axis[i + 1]), x(axis[j + 1]) - x(axis[j]) + 0.7,
      y(axis[i]) - y(axis[i + 1]) + 0.7,
    );
  }
}

function drawContours(pen, surface, top, x, y) {
  pen.strokeStyle = "rgba(255,255,255,.75)";
  pen.lineWidth = 1;
  for (let level = 1; level < 10; level++) {
    pen.beginPath();
    for (const [x0, y0, x1, y1] of contour(surface, (level * top) / 10)) {
      pen.moveTo(x(x0), y(y0));
      pen.lineTo(x(x1), y(y1));
    }
    pen.stroke();
  }
}

function drawLabels(pen, x, y) {
  pen.fillStyle = themed("--ink");
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const v of [-REACH, 0, REACH]) pen.fillText(String(v), x(v), y(-REACH) + 5);
  pen.fillText("score of pixel 1", x(0), y(-REACH) + 22);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const v of [-REACH, 0, REACH]) pen.fillText(String(v), x(-REACH) - 6, y(v));
  pen.save();
  pen.translate(12, y(0));
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText("score of pixel 2", 0, 0);
  pen.restore();
}

function drawPoint(pen, x, y) {
  const { gradient } = valueAndGradient(state.loss, labels(), [state.x, state.y]);
  const slope = Math.hypot(...gradient);
  const from = { x: x(state.x), y: y(state.y) };
  if (slope > 1e-6) {
    const step = (0.5 + 0.7 * Math.min(1, slope)) / slope;
    const to = [state.x - step * gradient[0], state.y - step * gradient[1]];
    arrow(pen, from, { x: x(to[0]), y: y(to[1]) });
  }
  disc(pen, from);
}
