// Cuts through segments, each along a straight line.
//
// A cut is [grown, x0, y0, x1, y1, side]: how far the segment was grown when it was cut, two points of
// the line in corners of pixels, and which side of it is kept. So what a reader saw is what was cut, and
// either part can be grown over the cut afterwards.

import { SIZE, grow } from "../lib/scene.js";

const FAR = 200; // of a point of a line from the image, in pixels
const MAX_GROWN = 8;

export const isCut = (cut) =>
  cut.length === 6 &&
  cut.every(Number.isInteger) &&
  Math.abs(cut[0]) <= MAX_GROWN &&
  cut.slice(1, 5).every((value) => Math.abs(value) <= FAR) &&
  (cut[1] !== cut[3] || cut[2] !== cut[4]) &&
  (cut[5] === 0 || cut[5] === 1);

// Whether the center of a pixel lies on a side of the line; the line itself belongs to side 0.
function isOn(side, [x0, y0, x1, y1], pixel) {
  const [x, y] = [(pixel % SIZE.width) + 0.5, Math.floor(pixel / SIZE.width) + 0.5];
  const isOnOne = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0;
  return isOnOne === (side === 1);
}

// The outline after all cuts, each at the size that it was made at, grown to its present size.
export function divide(outline, cuts, grown) {
  let [mask, size] = [outline, 0];
  for (const [then, x0, y0, x1, y1, side] of cuts) {
    const whole = grow(mask, then - size);
    mask = whole.map((covered, pixel) => (covered && isOn(side, [x0, y0, x1, y1], pixel) ? 1 : 0));
    size = then;
  }
  return grow(mask, grown - size);
}

export const moved = ([x0, y0, x1, y1], dx, dy) => [x0 + dx, y0 + dy, x1 + dx, y1 + dy];

// The line across a mask at an angle in degrees, where 90 is upright, and at a position in percent of
// the mask's extent across the line. Null for a mask without a pixel.
export function lineAcross(mask, { angle, position }) {
  const turn = (angle * Math.PI) / 180;
  const along = [Math.cos(turn), -Math.sin(turn)]; // rows are counted downwards
  const across = [Math.sin(turn), Math.cos(turn)];
  const spots = [...mask.keys()]
    .filter((pixel) => mask[pixel])
    .map((pixel) => [(pixel % SIZE.width) + 0.5, Math.floor(pixel / SIZE.width) + 0.5]);
  if (!spots.length) return null;
  const extent = (axis) => {
    const values = spots.map(([x, y]) => x * axis[0] + y * axis[1]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [low, high] = extent(across);
  const [start, end] = extent(along);
  const at = low + (position / 100) * (high - low);
  const ends = [(start + end) / 2 - 60, (start + end) / 2 + 60]; // far apart: rounding turns it little
  return ends.flatMap((far) => [0, 1].map((axis) => Math.round(at * across[axis] + far * along[axis])));
}
