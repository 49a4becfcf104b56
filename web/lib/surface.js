// The geometry of a loss surface of two pixels: its grid, its contours, and the eye that sees it.

import { valueAndGradient } from "./losses.js";

const NEAR = 1e-9; // grid lines this far beside 0, where the discrete loss steps

// A loss over a square grid: value[i][j] is at score axis[j] of pixel 1 and axis[i] of pixel 2.
// With many pixels, `scoresOf` gives their scores at a point.
export function makeSurface(loss, truth, reach, steps, scoresOf = (point) => point) {
  let axis = Array.from({ length: steps }, (_, i) => -reach + (2 * reach * i) / (steps - 1));
  if (loss === "jaccard") {
    axis = [...axis.filter((v) => Math.abs(v) > 1e-6), -NEAR, NEAR].sort((a, b) => a - b);
  }
  const value = axis.map((y) => axis.map((x) => valueAndGradient(loss, truth, scoresOf([x, y])).value));
  return { axis, value };
}

// The four corners of each cell as [row, column], in a ring, and the mean of the surface there.
export function cells({ axis, value }) {
  const all = [];
  for (let i = 0; i + 1 < axis.length; i++) {
    for (let j = 0; j + 1 < axis.length; j++) {
      const ring = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      all.push({ ring, mean: ring.reduce((sum, [r, c]) => sum + value[r][c], 0) / 4 });
    }
  }
  return all;
}

// Marching squares: pieces [x0, y0, x1, y1] of the line where a surface crosses a level.
export function contour({ axis, value }, level) {
  const pieces = [];
  for (const { ring } of cells({ axis, value })) {
    const cuts = [];
    for (let k = 0; k < 4; k++) {
      const [r0, c0] = ring[k];
      const [r1, c1] = ring[(k + 1) % 4];
      const a = value[r0][c0] - level;
      const b = value[r1][c1] - level;
      if (a < 0 !== b < 0) {
        const t = a / (a - b);
        cuts.push([axis[c0] + t * (axis[c1] - axis[c0]), axis[r0] + t * (axis[r1] - axis[r0])]);
      }
    }
    for (let k = 0; k + 1 < cuts.length; k += 2) pieces.push([...cuts[k], ...cuts[k + 1]]);
  }
  return pieces;
}

// Return a function from x, y in -1..1 and z in 0..1 to a spot on the canvas and its depth.
export function camera({ yaw, pitch }, width, height) {
  const [around, up] = [yaw, pitch].map((degrees) => (degrees * Math.PI) / 180);
  const tall = 2 * (Math.SQRT2 * Math.sin(up) + 0.625 * Math.cos(up)); // of the box, from its corner
  const scale = Math.min(width / 3.6, height / (tall + 0.45));
  return (x, y, z) => {
    const u = x * Math.cos(around) - y * Math.sin(around);
    const v = x * Math.sin(around) + y * Math.cos(around);
    const w = (z - 0.5) * 1.25;
    return {
      x: width / 2 + u * scale,
      y: height / 2 - (v * Math.sin(up) + w * Math.cos(up)) * scale,
      depth: v * Math.cos(up) - w * Math.sin(up),
    };
  };
}
