// The surface in 3-D: quads painted from the farthest to the nearest.

import { disc, line, prepare, themed } from "../lib/canvas.js";
import { valueAndGradient } from "../lib/losses.js";
import { DOT, LOSSES, colorAt, css } from "../lib/palette.js";
import { camera, cells, makeSurface } from "../lib/surface.js";
import { REACH, labels, state } from "./state.js";

const CORNERS = [[-1, -1], [1, -1], [1, 1], [-1, 1]];

export function drawSolid(canvas) {
  const { pen, width, height } = prepare(canvas, 0.76);
  const { top } = LOSSES[state.loss];
  const at = camera(state, width, height);
  const spot = (x, y, value) => at(x / REACH, y / REACH, Math.min(value, top) / top);
  const far = CORNERS.reduce((a, b) => (at(...b, 0).depth > at(...a, 0).depth ? b : a));
  drawBox(pen, at, far);
  drawQuads(pen, spot, top);
  drawPoint(pen, at, spot);
  drawLabels(pen, at, far, top, width);
}

// Floor, and the two walls behind.
function drawBox(pen, at, [x, y]) {
  const ink = themed("--soft");
  for (let i = 0; i < 4; i++) {
    line(pen, at(...CORNERS[i], 0), at(...CORNERS[(i + 1) % 4], 0), ink, 1);
  }
  for (const corner of [[x, y], [-x, y], [x, -y]]) line(pen, at(...corner, 0), at(...corner, 1), ink, 1);
  line(pen, at(x, y, 1), at(-x, y, 1), ink, 1);
  line(pen, at(x, y, 1), at(x, -y, 1), ink, 1);
}

function drawQuads(pen, spot, top) {
  const surface = makeSurface(state.loss, labels(), REACH, 31);
  const { axis, value } = surface;
  const quads = cells(surface).map(({ ring, mean }) => {
    const corners = ring.map(([r, c]) => spot(axis[c], axis[r], value[r][c]));
    return { corners, mean, depth: corners.reduce((total, corner) => total + corner.depth, 0) };
  });
  quads.sort((a, b) => b.depth - a.depth);
  pen.strokeStyle = "rgba(255,255,255,.28)";
  pen.lineWidth = 0.6;
  for (const { corners, mean } of quads) {
    pen.beginPath();
    corners.forEach((c, i) => (i ? pen.lineTo(c.x, c.y) : pen.moveTo(c.x, c.y)));
    pen.closePath();
    pen.fillStyle = css(colorAt(mean / top));
    pen.fill();
    pen.stroke();
  }
}

// The point, its stem, and an arrow in the surface along the steepest way down.
function drawPoint(pen, at, spot) {
  const height = (x, y) => valueAndGradient(state.loss, labels(), [x, y]).value;
  const { value, gradient } = valueAndGradient(state.loss, labels(), [state.x, state.y]);
  const dot = spot(state.x, state.y, value);
  pen.setLineDash([4, 4]);
  line(pen, at(state.x / REACH, state.y / REACH, 0), dot, themed("--ink"), 1.2);
  pen.setLineDash([]);
  const slope = Math.hypot(...gradient);
  let previous = dot;
  for (let i = 1; i <= 12 && slope > 1e-6; i++) {
    const step = ((i / 12) * 0.9) / slope;
    const end = [state.x - step * gradient[0], state.y - step * gradient[1]];
    if (Math.max(Math.abs(end[0]), Math.abs(end[1])) > REACH) break;
    const next = spot(...end, height(...end));
    line(pen, previous, next, "white", 5);
    line(pen, previous, next, DOT, 2.6);
    previous = next;
  }
  disc(pen, dot);
}

function drawLabels(pen, at, far, top, width) {
  pen.fillStyle = themed("--ink");
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const label = (text, { x, y }) => pen.fillText(text, x, y);
  const near = far.map((v) => -v);
  for (const v of [-REACH, 0, REACH]) {
    label(String(v), at(v / REACH, near[1] * 1.13, 0));
    label(String(v), at(near[0] * 1.13, v / REACH, 0));
  }
  const what = width < 450 ? "pixel" : "score of pixel";
  label(`${what} 1`, at(0, near[1] * 1.38, 0));
  label(`${what} 2`, at(near[0] * 1.38, 0, 0));
  const sides = [[-far[0], far[1]], [far[0], -far[1]]];
  const side = at(...sides[0], 0).x < at(...sides[1], 0).x ? sides[0] : sides[1];
  pen.textAlign = "right";
  for (const v of [0.5, 1]) {
    const { x, y } = at(side[0] * 1.04, side[1] * 1.04, v);
    label(String(v * top), { x: x - 6, y });
  }
}
