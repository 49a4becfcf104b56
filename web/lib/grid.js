// A map of segments as a picture: its colors, borders, letters, and the pixel under a pointer.

import { prepare } from "./canvas.js";
import { VOID_COLOR, css, inkOn } from "./palette.js";

// Return the brushes of a canvas that shows a grid of { width, height } pixels.
export function openGrid(canvas, size) {
  const { pen, width } = prepare(canvas, size.height / size.width);
  return { pen, side: width / size.width, size };
}

// The pixel of the grid under a pointer, as { x, y }; kept inside of the grid.
export function pixelAt(canvas, event, size) {
  const box = canvas.getBoundingClientRect();
  const within = (part, num) => Math.min(num - 1, Math.max(0, Math.floor(part * num)));
  return {
    x: within((event.clientX - box.left) / box.width, size.width),
    y: within((event.clientY - box.top) / box.height, size.height),
  };
}

// Fill each pixel with the color of its id, [r, g, b]; ids without a color are hatched: void.
export function fillMap(grid, idMap, colors) {
  const { pen, side, size } = grid;
  const small = Object.assign(document.createElement("canvas"), size);
  const brush = small.getContext("2d");
  const image = brush.createImageData(size.width, size.height);
  idMap.forEach((id, pixel) => image.data.set([...(colors.get(id) ?? VOID_COLOR), 255], 4 * pixel));
  brush.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, size.width * side, size.height * side);
  hatch(grid, (pixel) => !colors.has(idMap[pixel]));
}

// Thin lines from lower left to upper right over the pixels that `chosen` names.
export function hatch({ pen, side, size }, chosen, color = "rgba(255,255,255,.35)") {
  pen.strokeStyle = color;
  pen.lineWidth = 1;
  pen.beginPath();
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      if ((x + y) % 2 || !chosen(y * size.width + x)) continue;
      pen.moveTo(x * side, (y + 1) * side);
      pen.lineTo((x + 1) * side, y * side);
    }
  }
  pen.stroke();
}

// The border of a mask, given as a function from a pixel to whether it belongs: solid, or dashed.
export function outline({ pen, side, size }, inside, { color, thick = 2, dash = [] }) {
  const at = (x, y) =>
    x >= 0 && y >= 0 && x < size.width && y < size.height && Boolean(inside(y * size.width + x));
  pen.beginPath();
  for (let y = 0; y <= size.height; y++) {
    for (let x = 0; x <= size.width; x++) {
      if (at(x, y) !== at(x, y - 1)) piece(pen, [x * side, y * side, (x + 1) * side, y * side]);
      if (at(x, y) !== at(x - 1, y)) piece(pen, [x * side, y * side, x * side, (y + 1) * side]);
    }
  }
  pen.setLineDash(dash);
  for (const [stroke, width] of [["rgba(0,0,0,.75)", thick + 2], [color, thick]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.stroke();
  }
  pen.setLineDash([]);
}

function piece(pen, [x0, y0, x1, y1]) {
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
}

// The pixel of a mask that is closest to its middle, or null for one without a pixel.
export function middleOf(inside, size) {
  const pixels = [];
  for (let pixel = 0; pixel < size.width * size.height; pixel++) if (inside(pixel)) pixels.push(pixel);
  if (!pixels.length) return null;
  const spots = pixels.map((pixel) => [pixel % size.width, Math.floor(pixel / size.width)]);
  const [x, y] = [0, 1].map((axis) => spots.reduce((sum, spot) => sum + spot[axis], 0) / spots.length);
  const distances = spots.map((spot) => Math.hypot(spot[0] - x, spot[1] - y));
  return pixels[distances.indexOf(Math.min(...distances))];
}

// A short text in a box of a color, in the middle of a pixel; the box stays inside of the canvas.
export function label({ pen, side, size }, pixel, text, color) {
  pen.font = "600 13px system-ui, sans-serif";
  const wide = pen.measureText(text).width + 8;
  const within = (value, half, end) => Math.min(end - half, Math.max(half, value));
  const x = within(((pixel % size.width) + 0.5) * side, wide / 2, size.width * side);
  const y = within((Math.floor(pixel / size.width) + 0.5) * side, 9, size.height * side);
  pen.fillStyle = css(color);
  pen.strokeStyle = inkOn(color);
  pen.lineWidth = 1;
  pen.fillRect(x - wide / 2, y - 9, wide, 18);
  pen.strokeRect(x - wide / 2, y - 9, wide, 18);
  pen.fillStyle = inkOn(color);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, x, y + 1);
}

// A square around one pixel: the one that is looked at.
export function marker({ pen, side, size }, pixel) {
  const x = (pixel % size.width) * side;
  const y = Math.floor(pixel / size.width) * side;
  for (const [color, thick, more] of [["black", 4, 2], ["white", 2, 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.strokeRect(x - more, y - more, side + 2 * more, side + 2 * more);
  }
}
