// Strokes that pages share: sharp canvases, lines, arrows, discs, colors of the theme.

import { DOT } from "./palette.js";

// A color of the style sheet, for light or dark.
export const themed = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const MAX_LAYERS = 8;
const layers = new Map();

// Clear a canvas and size it to its place in the page; `ratio` is height over width.
export function prepare(canvas, ratio) {
  const width = canvas.clientWidth || 300;
  const height = Math.round(width * ratio);
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  return { pen: penOf(canvas, sharp), width, height };
}

function penOf(canvas, sharp) {
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.lineJoin = "round";
  pen.font = "13px system-ui, sans-serif";
  return pen;
}

// Paint what depends on nothing but the key and the size once, and copy it from then on.
export function copyLayer(pen, key, paint) {
  const { width, height } = pen.canvas;
  const name = JSON.stringify([key, width, height]);
  if (!layers.has(name)) {
    if (layers.size === MAX_LAYERS) layers.delete(layers.keys().next().value);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    paint(penOf(canvas, pen.getTransform().a));
    layers.set(name, canvas);
  }
  pen.save();
  pen.resetTransform();
  pen.drawImage(layers.get(name), 0, 0);
  pen.restore();
}

export function line(pen, from, to, color, thick) {
  pen.strokeStyle = color;
  pen.lineWidth = thick;
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.lineTo(to.x, to.y);
  pen.stroke();
}

export function disc(pen, spot, { radius = 7, color = DOT } = {}) {
  pen.beginPath();
  pen.arc(spot.x, spot.y, radius, 0, 2 * Math.PI);
  pen.fillStyle = color;
  pen.fill();
  pen.strokeStyle = "white";
  pen.lineWidth = 2;
  pen.stroke();
}

// A line through many spots, dark with a light edge.
export function trail(pen, spots) {
  for (const [color, thick] of [["rgba(255,255,255,.8)", 4], [DOT, 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.lineCap = "round";
    pen.beginPath();
    spots.forEach(({ x, y }, i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  }
}

// An arrow whose head is never longer than half of it.
export function arrow(pen, from, to) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const head = Math.min(10, Math.hypot(to.x - from.x, to.y - from.y) / 2);
  for (const [color, thick] of [["white", 6], ["#111", 3]]) {
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x, to.y);
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(to.x, to.y);
      pen.lineTo(to.x + head * Math.cos(angle + turn), to.y + head * Math.sin(angle + turn));
    }
    pen.stroke();
  }
}
