// Many pixels on a plane of their scores: one axis moves all foreground, the other all background.

const SPREAD = 1.5; // scores of one kind lie this far around what moves them, evenly

// Pixels with their truth, foreground first, and how far each score lies beside its group's.
export function makePixels(numForeground, num) {
  const offsets = (n) => Array.from({ length: n }, (_, i) => SPREAD * ((2 * i + 1) / n - 1));
  const truth = Array.from({ length: num }, (_, i) => Number(i < numForeground));
  return { truth, offsets: [...offsets(numForeground), ...offsets(num - numForeground)] };
}

// The scores of all pixels at a point of the plane.
export const spread = ({ truth, offsets }, [x, y]) =>
  offsets.map((offset, i) => offset + (truth[i] ? x : y));

// The slope along both axes, from the slope by each score.
export function gather({ truth }, gradient) {
  const slope = [0, 0];
  gradient.forEach((g, i) => (slope[truth[i] ? 0 : 1] += g));
  return slope;
}
