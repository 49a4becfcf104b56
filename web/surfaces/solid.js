// The surface in 3-D: quads painted from the farthest to the nearest.

import { copyLayer, disc, line, prepare, themed, trail } from "../lib/canvas.js";
import { cornersOf } from "../lib/losses.js";
import { colorAt, css } from "../lib/palette.js";
import { camera, cells, makeSurface } from "../lib/surface.js";
import { arrowOf, between, sideBySide } from "./map.js";
import {
  axisNames, hasTwo, labels, lossAt, losses, pointOf, reach, scoresOf, state, topOf, trailOf,
} from "./state.js";

const CORNERS = [[-1, -1], [1, -1], [1, 1], [-1, 1]];

export function drawSolid(canvas, index) {
  const { pen, width, height } = prepare(canvas, sideBySide() ? 0.66 : 0.76);
  const loss = losses()[index];
  const top = topOf(loss);
  const at = camera(state, width, height);
  const heightAt = (point) => lossAt(loss, point).value;
  const spot = ([x, y], value) => at(x / reach(), y / reach(), Math.min(value, top) / top);
  const far = CORNERS.reduce((a, b) => (at(...b, 0).depth > at(...a, 0).depth ? b : a));
  const ink = themed("--soft");
  const key = ["solid", loss, labels(), reach(), state.yaw, state.pitch, ink];
  copyLayer(pen, key, (brush) => {
    drawBox(brush, at, far, ink);
    drawQuads(brush, spot, loss, top);
    if (hasTwo() && loss.startsWith("lovasz")) drawCorners(brush, spot, loss);
  });
  trail(pen, between(trailOf(index)).map((point) => spot(point, heightAt(point))));
  drawPoint(pen, at, spot, loss, pointOf(index), heightAt);
  drawLabels(pen, at, far, top, width);
}

// Floor, and the two walls behind.
function drawBox(pen, at, [x, y], ink) {
  for (let i = 0; i < 4; i++) {
    line(pen, at(...CORNERS[i], 0), at(...CORNERS[(i + 1) % 4], 0), ink, 1);
  }
  for (const [u, v] of [[x, y], [-x, y], [x, -y]]) line(pen, at(u, v, 0), at(u, v, 1), ink, 1);
  line(pen, at(x, y, 1), at(-x, y, 1), ink, 1);
  line(pen, at(x, y, 1), at(x, -y, 1), ink, 1);
}

function drawQuads(pen, spot, loss, top) {
  const surface = makeSurface(loss, labels(), reach(), 31, scoresOf);
  const { axis, value } = surface;
  const quads = cells(surface).map(({ ring, mean }) => {
    const corners = ring.map(([r, c]) => spot([axis[c], axis[r]], value[r][c]));
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

function drawCorners(pen, spot, loss) {
  for (const { scores, value } of cornersOf(loss, labels(), reach())) {
    disc(pen, spot(scores, value), { radius: 4, color: "#111" });
  }
}

// The point, its stem, and an arrow in the surface along the steepest way down.
function drawPoint(pen, at, spot, loss, point, heightAt) {
  const dot = spot(point, heightAt(point));
  pen.setLineDash([4, 4]);
  line(pen, at(point[0] / reach(), point[1] / reach(), 0), dot, themed("--ink"), 1.2);
  pen.setLineDash([]);
  const inside = between(arrowOf(loss, point)).filter((end) =>
    end.every((v) => Math.abs(v) <= reach()),
  );
  const spots = inside.map((end) => spot(end, heightAt(end)));
  for (const [color, thick] of [["white", 5], ["#111", 2.6]]) {
    for (let i = 0; i + 1 < spots.length; i++) line(pen, spots[i], spots[i + 1], color, thick);
  }
  disc(pen, dot);
}

// Numbers and names stand outside of the floor, away from its middle.
function drawLabels(pen, at, far, top, width) {
  pen.fillStyle = themed("--ink");
  pen.textBaseline = "middle";
  const middle = at(0, 0, 0);
  const short = hasTwo() ? ["pixel 1", "pixel 2"] : ["foreground", "background"];
  const names = width < 450 ? short : axisNames();
  for (const axis of [0, 1]) {
    const along = (v) => (axis ? at(-far[0], v, 0) : at(v, -far[1], 0));
    const edge = along(0);
    const length = Math.hypot(edge.x - middle.x, edge.y - middle.y);
    const out = { x: (edge.x - middle.x) / length, y: (edge.y - middle.y) / length };
    pen.textAlign = out.x > 0.35 ? "left" : out.x < -0.35 ? "right" : "center";
    const write = (text, { x, y }, away) => pen.fillText(text, x + away * out.x, y + away * out.y);
    for (const v of [-1, 0, 1]) write(String(v * reach()), along(v), 12);
    write(names[axis], edge, 34);
  }
  const sides = [[-far[0], far[1]], [far[0], -far[1]]];
  const [u, v] = at(...sides[0], 0).x < at(...sides[1], 0).x ? sides[0] : sides[1];
  pen.textAlign = "right";
  for (const fraction of [0.5, 1]) {
    const { x, y } = at(u * 1.04, v * 1.04, fraction);
    pen.fillText(String(fraction * top), x - 6, y);
  }
}
