// Paste a mask from the small grid of the mask head into the image. The same as pfpn.paste; tests
// compare them. In float32, as there: each step is rounded by Math.fround.

const f = Math.fround;

export const PASTE_THRESHOLD = 0.5;

// Sample a mask of bins x bins (a flat array of probabilities that spans the box) at the centers of
// the pixels around its box. Returns a window as lib/merge.js takes it, with the probabilities.
export function pasteWindow(probs, box, size, threshold = PASTE_THRESHOLD) {
  const bins = Math.sqrt(probs.length);
  const { top, bottom, left, right } = extentOf(box, size);
  const [height, width] = [bottom - top, right - left];
  const columns = gridRows(left, right, box[0], box[2], bins);
  const rows = gridRows(top, bottom, box[1], box[3], bins);
  // First across, then down: row -1 and row `bins` are zeros.
  const at = (row, column) =>
    row < 0 || column < 0 || row >= bins || column >= bins ? 0 : f(probs[row * bins + column]);
  const across = Array.from({ length: bins + 2 }, (_, row) =>
    columns.map((position) => between((column) => at(row - 1, column), position, bins)),
  );
  const values = new Float32Array(height * width);
  const mask = new Uint8Array(height * width);
  rows.forEach((position, y) => {
    for (let x = 0; x < width; x++) {
      const value = between((row) => across[row + 1][x], position, bins);
      values[y * width + x] = value;
      mask[y * width + x] = value >= threshold ? 1 : 0;
    }
  });
  return { top, left, width, height, mask, values };
}

// The pixels that a mask in a box can reach: one more than the box on each side.
function extentOf([x0, y0, x1, y1], { width, height }) {
  if (x1 <= x0 || y1 <= y0) return { top: 0, bottom: 0, left: 0, right: 0 };
  const within = (value, most) => Math.min(most, Math.max(0, value));
  return {
    top: within(Math.floor(y0) - 1, height),
    bottom: within(Math.ceil(y1) + 1, height),
    left: within(Math.floor(x0) - 1, width),
    right: within(Math.ceil(x1) + 1, width),
  };
}

// Where pixel centers fall between the rows of the grid, which spans low to high; row i is at i.
export function gridRows(start, stop, low, high, bins) {
  return Array.from({ length: stop - start }, (_, i) => {
    const normalized = f(f(f(f(start + i + 0.5 - low) / f(high - low)) * 2) - 1);
    const row = f(f(f(f(normalized + 1) * bins) - 1) / 2);
    return Math.min(bins, Math.max(-1, row));
  });
}

// The value at a position between rows, the first of which is at -1 and the last at `bins`.
function between(valueAt, position, bins) {
  const lower = Math.min(Math.floor(position), bins - 1);
  const low = valueAt(lower);
  return f(f(f(valueAt(lower + 1) - low) * f(position - lower)) + low);
}
