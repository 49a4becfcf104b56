// Pictures of the page: maps of numbers, photographs, boxes, segments.

import { prepare } from "../lib/canvas.js";
import { onKeys } from "../lib/controls.js";
import { pixelAt } from "../lib/grid.js";
import { colorAt, segmentColors, VOID_COLOR } from "../lib/palette.js";
import { SIZE } from "./state.js";

const PIXELS = SIZE.width * SIZE.height;
const WHITE = [255, 255, 255];

function sheet(width, height, colorOf) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  const bytes = image.data;
  for (let i = 0; i < width * height; i++) {
    const color = colorOf(i);
    bytes[4 * i] = color[0];
    bytes[4 * i + 1] = color[1];
    bytes[4 * i + 2] = color[2];
    bytes[4 * i + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

// A photograph of planar RGB bytes; `fade` mixes it with white or black for what is drawn on it.
export const photograph = (image, fade = 0) =>
  sheet(SIZE.width, SIZE.height, (i) =>
    [0, 1, 2].map((c) => image[c * PIXELS + i] * (1 - fade) + 128 * fade),
  );

// A map of numbers from `low` (dark) to `high` (bright), from `start` on in a flat array.
export function heat(values, { width, height, start = 0, low, high }) {
  const part = values.subarray ? values.subarray(start, start + width * height) : values.slice(start, start + width * height);
  let [least, most] = [low ?? Infinity, high ?? -Infinity];
  if (low === undefined) for (const value of part) least = Math.min(least, value);
  if (high === undefined) for (const value of part) most = Math.max(most, value);
  const range = most - least || 1;
  return sheet(width, height, (i) => colorAt((part[i] - least) / range));
}

// How active each cell is: the mean magnitude over all channels.
export function activity({ data, dims }) {
  const [, channels, height, width] = dims;
  const values = new Float32Array(width * height);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < values.length; i++) values[i] += Math.abs(data[c * values.length + i]) / channels;
  }
  return { values, width, height };
}

// A map of segments in their colors, mixed with the photograph.
export function segments(idMap, list, image, mix = 0.75) {
  const colors = segmentColors(list);
  const mixed = [0, 0, 0];
  return sheet(SIZE.width, SIZE.height, (i) => {
    const color = colors.get(idMap[i]) ?? VOID_COLOR;
    const border =
      (i % SIZE.width && idMap[i] !== idMap[i - 1]) || (i >= SIZE.width && idMap[i] !== idMap[i - SIZE.width]);
    if (border) return WHITE;
    const rest = 1 - mix;
    mixed[0] = color[0] * mix + image[i] * rest;
    mixed[1] = color[1] * mix + image[PIXELS + i] * rest;
    mixed[2] = color[2] * mix + image[2 * PIXELS + i] * rest;
    return mixed;
  });
}

// Put a sheet into a canvas of the page as it is, for the style sheet to scale.
export function put(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

// Scale a sheet to a canvas of the page; return the pen and how many of its units a pixel of the
// image, `size`, is wide.
export function spread(canvas, picture, size = SIZE) {
  const { pen, width, height } = prepare(canvas, size.height / size.width);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(picture, 0, 0, width, height);
  return { pen, unit: width / size.width };
}

export function box({ pen, unit }, [x0, y0, x1, y1], color, { thick = 2, dash = [] } = {}) {
  pen.setLineDash(dash);
  for (const [stroke, width] of [["rgba(0,0,0,.6)", thick + 2], [color, thick]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.strokeRect(x0 * unit, y0 * unit, (x1 - x0) * unit, (y1 - y0) * unit);
  }
  pen.setLineDash([]);
}

export function cross({ pen, unit }, x, y) {
  for (const [color, thick] of [["black", 4], ["white", 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.beginPath();
    pen.moveTo(x * unit - 7, y * unit);
    pen.lineTo(x * unit + 7, y * unit);
    pen.moveTo(x * unit, y * unit - 7);
    pen.lineTo(x * unit, y * unit + 7);
    pen.stroke();
  }
}

export function cellFrame({ pen, unit }, column, row, cells = 1, color = "white") {
  for (const [stroke, thick] of [["black", 4], [color, 2]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = thick;
    pen.strokeRect(column * unit, row * unit, cells * unit, cells * unit);
  }
}

// All channels of a map side by side, each to its own scale; the chosen one framed.
export function mosaic(canvas, { data, dims }, chosen, color) {
  const [, channels, height, width] = dims;
  const columns = mosaicColumns(channels, canvas.clientWidth || 300);
  const rows = Math.ceil(channels / columns);
  const ratio = (rows * (height + 1)) / (columns * (width + 1));
  const { pen, width: wide } = prepare(canvas, ratio);
  const unit = wide / (columns * (width + 1));
  pen.imageSmoothingEnabled = false;
  for (let c = 0; c < channels; c++) {
    const picture = heat(data, { width, height, start: c * width * height });
    const [x, y] = [(c % columns) * (width + 1) * unit, Math.floor(c / columns) * (height + 1) * unit];
    pen.drawImage(picture, x, y, width * unit, height * unit);
    if (c !== chosen) continue;
    pen.strokeStyle = color;
    pen.lineWidth = 3;
    pen.strokeRect(x + 1, y + 1, width * unit - 2, height * unit - 2);
  }
}

export const mosaicColumns = (channels, width) =>
  Math.min(channels, width < 420 ? 6 : channels > 64 ? 16 : 8);

// Let a click on a canvas that shows a grid of `size` choose a cell, and the arrow keys the next one:
// act(column, row). `chosen` is the cell that is chosen.
export function choosable(canvas, size, chosen, act) {
  const within = (value, num) => Math.min(num - 1, Math.max(0, value));
  const choose = (x, y) => act(within(x, size.width), within(y, size.height));
  canvas.tabIndex = 0;
  canvas.addEventListener("click", (event) => {
    const { x, y } = pixelAt(canvas, event, size);
    choose(x, y);
  });
  onKeys(canvas, (dx, dy) => choose(chosen.x + dx, chosen.y - dy), () => choose(0, 0));
}
