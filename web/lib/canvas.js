// Strokes that pages share: sharp canvases, lines, arrows, discs, colors of the theme.

import { DOT } from "./palette.js";

// A color of the style sheet, for light or dark.
export const themed = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Clear a canvas and size it to its place in the page; `ratio` is height over width.
export function prepare(canvas, ratio) {
  const width = canvas.clientWidth || 300;
  const height = Math.round(width * ratio);
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.lineJoin = "round";
  pen.font = "13px system-ui, sans-serif";
  return { pen, width, height };
}

export function line(pen, from, to, color, thick) {
  pen.strokeStyle = color;
  pen.lineWidth = thick;
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.lineTo(to.x, to.y);
  pen.stroke();
}

export function disc(pen, spot) {
  pen.beginPath();
  pen.arc(spot.x, spot.y, 7, 0, 2 * Math.PI);
  pen.fillStyle = DOT;
  pen.fill();
  pen.strokeStyle = "white";
  pen.lineWidth = 2;
  pen.stroke();
}

export function arrow(pen, from, to) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  for (const [color, thick] of [["white", 6], [DOT, 3]]) {
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x, to.y);
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(to.x, to.y);
      pen.lineTo(to.x + 10 * Math.cos(angle + turn), to.y + 10 * Math.sin(angle + turn));
    }
    pen.stroke();
  }
}
