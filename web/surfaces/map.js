// The surface from above: colors, level lines, the descent, the point.

import { arrow, copyLayer, disc, prepare, themed, trail } from "../lib/canvas.js";
import { colorAt, css } from "../lib/palette.js";
import { cells, contour, makeSurface } from "../lib/surface.js";
import {
  axisNames, labels, lossAt, losses, pointOf, reach, scoresOf, topOf, trailOf,
} from "./state.js";

const ARROW = 2 / 3; // length of an arrow where the slope is 1, as a part of the reach
const PAD = { left: 44, right: 14, top: 14, bottom: 44 };

// Whether two losses stand beside each other, as the style sheet has it.
export const sideBySide = () => losses().length > 1 && window.innerWidth > 640;

const sideOf = (width, height) =>
  Math.min(width - PAD.left - PAD.right, height - PAD.top - PAD.bottom);

export function drawMap(canvas, index) {
  const { pen, width, height } = prepare(canvas, sideBySide() ? 0.8 : 0.95);
  const loss = losses()[index];
  const side = sideOf(width, height);
  const x = (v) => PAD.left + ((v + reach()) / (2 * reach())) * side;
  const y = (v) => PAD.top + ((reach() - v) / (2 * reach())) * side;
  copyLayer(pen, ["map", loss, labels(), reach()], (brush) => {
    const surface = makeSurface(loss, labels(), reach(), 61, scoresOf);
    drawCells(brush, surface, topOf(loss), x, y);
    if (loss !== "jaccard") drawContours(brush, surface, topOf(loss), x, y);
  });
  drawLabels(pen, x, y);
  drawTrail(pen, trailOf(index).map(([u, v]) => ({ x: x(u), y: y(v) })));
  drawPoint(pen, loss, pointOf(index), x, y);
}

// The scores under a pointer.
export function scoresAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const side = sideOf(box.width, box.height);
  return [
    ((event.clientX - box.left - PAD.left) / side) * 2 * reach() - reach(),
    reach() - ((event.clientY - box.top - PAD.top) / side) * 2 * reach(),
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
  for (const v of [-reach(), 0, reach()]) pen.fillText(String(v), x(v), y(-reach()) + 5);
  pen.fillText(axisNames()[0], x(0), y(-reach()) + 22);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const v of [-reach(), 0, reach()]) pen.fillText(String(v), x(-reach()) - 6, y(v));
  pen.save();
  pen.translate(12, y(0));
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(axisNames()[1], 0, 0);
  pen.restore();
}

// The descent, with a dot at each step that is far enough from the dot before.
function drawTrail(pen, spots) {
  trail(pen, spots);
  let [last] = spots;
  for (const spot of spots.slice(1)) {
    if (Math.hypot(spot.x - last.x, spot.y - last.y) < 8) continue;
    disc(pen, spot, { radius: 2.5 });
    last = spot;
  }
}

function drawPoint(pen, loss, point, x, y) {
  const [from, to] = arrowOf(loss, point).map(([u, v]) => ({ x: x(u), y: y(v) }));
  if (Math.hypot(to.x - from.x, to.y - from.y) > 1) arrow(pen, from, to);
  disc(pen, from);
}

// Start and end of the arrow down the steepest way, as long as the slope.
export function arrowOf(loss, point) {
  const { gradient } = lossAt(loss, point);
  return [point, point.map((v, axis) => v - ARROW * reach() * gradient[axis])];
}

// The points of a line with more of them between, so that it can lie in a surface.
export function between(points, num = points.length > 50 ? 1 : 8) {
  const more = points.slice(1).flatMap((end, i) =>
    Array.from({ length: num }, (_, k) =>
      end.map((v, axis) => points[i][axis] + ((k + 1) / num) * (v - points[i][axis])),
    ),
  );
  return [points[0], ...more];
}
