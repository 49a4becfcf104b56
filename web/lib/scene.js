// A street drawn on a small grid: the shapes of its things, and their pixels.
//
// A shape is { kind, x, y, width, height } in pixels of the grid: its kind gives the outline, the
// rest the box that it fills.

export const SIZE = { width: 48, height: 32 };

const inBox = (left, top, right, bottom) => (u, v) => u >= left && u < right && v >= top && v < bottom;
const inDisc = (x, y, radius, aspect) => (u, v) => Math.hypot(u - x, (v - y) / aspect) <= radius;
const any = (...parts) => (u, v) => parts.some((part) => part(u, v));

// Whether a shape covers the point (u, v) of its box, both from 0 to 1.
const OUTLINES = {
  rectangle: () => true,
  car: any(
    inBox(0, 0.38, 1, 0.84),
    (u, v) => v < 0.4 && Math.abs(u - 0.48) < 0.24 + 0.25 * v,
    inDisc(0.22, 0.84, 0.12, 1.5),
    inDisc(0.78, 0.84, 0.12, 1.5),
  ),
  bus: any(inBox(0, 0, 1, 0.9), inDisc(0.2, 0.9, 0.1, 1), inDisc(0.8, 0.9, 0.1, 1)),
  person: any(
    inDisc(0.5, 0.14, 0.36, 0.4),
    inBox(0, 0.27, 1, 0.62),
    inBox(0, 0.6, 0.42, 1),
    inBox(0.58, 0.6, 1, 1),
  ),
  dog: any(
    inBox(0.12, 0.35, 0.85, 0.72),
    inBox(0.66, 0, 1, 0.45),
    inBox(0.12, 0.6, 0.3, 1),
    inBox(0.66, 0.6, 0.84, 1),
    inBox(0, 0.1, 0.14, 0.5),
  ),
  tree: any(inDisc(0.5, 0.32, 0.5, 0.64), inBox(0.38, 0.5, 0.62, 1)),
  balloon: inDisc(0.5, 0.5, 0.5, 1),
};
export const KINDS = Object.keys(OUTLINES);

// The pixels of a shape that lie inside of the grid, as 0 and 1 for every pixel of the grid.
export function pixelsOf({ kind, x, y, width, height }) {
  const mask = new Uint8Array(SIZE.width * SIZE.height);
  for (let row = Math.max(0, y); row < Math.min(SIZE.height, y + height); row++) {
    for (let column = Math.max(0, x); column < Math.min(SIZE.width, x + width); column++) {
      const inside = OUTLINES[kind]((column - x + 0.5) / width, (row - y + 0.5) / height);
      if (inside) mask[row * SIZE.width + column] = 1;
    }
  }
  return mask;
}

// A mask of the whole grid as lib/merge.js takes it.
export const windowOf = (mask) => ({ top: 0, left: 0, ...SIZE, mask });

// Paint masks one over the other: each pixel gets the value of the last layer { mask, value } that
// covers it, 0 where none does.
export function paintLayers(layers) {
  const map = new Int32Array(SIZE.width * SIZE.height);
  for (const { mask, value } of layers) {
    mask.forEach((covered, pixel) => {
      if (covered) map[pixel] = value;
    });
  }
  return map;
}

// Grow a mask by a ring of pixels (4 neighbors) as often as `times`; shrink it where that is below 0.
export function grow(mask, times) {
  const edge = times < 0 ? 0 : 1;
  let grown = mask;
  for (let i = 0; i < Math.abs(times); i++) {
    const before = grown;
    grown = before.map((covered, pixel) =>
      neighborsOf(pixel).some((other) => before[other] === edge) ? edge : covered,
    );
  }
  return grown;
}

function neighborsOf(pixel) {
  const [column, row] = [pixel % SIZE.width, Math.floor(pixel / SIZE.width)];
  return [
    column > 0 && pixel - 1,
    column < SIZE.width - 1 && pixel + 1,
    row > 0 && pixel - SIZE.width,
    row < SIZE.height - 1 && pixel + SIZE.width,
  ].filter((other) => other !== false);
}
