// RoIAlign: the level of a box, and where its bins are sampled. The same as pfpn.roi and
// pfpn.roi_align; tests compare them.

const f = Math.fround;

// k of the level p_k that a box is pooled from, within 2..5.
export function levelOf([x0, y0, x1, y1], canonicalSize) {
  const side = f(Math.sqrt(Math.max(0, f(f(x1 - x0) * f(y1 - y0)))));
  const level = Math.floor(f(4 + f(Math.log2(f(f(side / canonicalSize) + 1e-8)))));
  return Math.min(5, Math.max(2, level));
}

// Positions of the samples along one axis, in cells: one list for each bin. `start` and `end` are
// the box's edges in pixels; half a pixel lies between an index and its center.
export function samplesAlong(start, end, stride, bins, ratio) {
  const low = start / stride - 0.5;
  const side = (end - start) / stride / bins;
  return Array.from({ length: bins }, (_, bin) =>
    Array.from({ length: ratio }, (_, i) => low + (bin + (i + 0.5) / ratio) * side),
  );
}

// The cells that a position lies between, with their weights; none where it is outside of the map.
export function weightsAt(position, cells) {
  if (position < -1 || position > cells) return [];
  const at = Math.min(cells - 1, Math.max(0, position));
  const low = Math.floor(at);
  const weight = at - low;
  return weight > 0 ? [[low, 1 - weight], [low + 1, weight]] : [[low, 1]];
}

// The weight of each cell in each bin's mean along one axis: bins x cells.
export function axisWeights(start, end, stride, bins, cells, ratio) {
  return samplesAlong(start, end, stride, bins, ratio).map((positions) => {
    const row = new Array(cells).fill(0);
    for (const position of positions) {
      for (const [cell, weight] of weightsAt(position, cells)) row[cell] += weight / ratio;
    }
    return row;
  });
}

// The pooled features of one box and one channel: bins x bins, from a flat map of height x width.
export function poolChannel(map, height, width, box, stride, bins, ratio) {
  const down = axisWeights(box[1], box[3], stride, bins, height, ratio);
  const across = axisWeights(box[0], box[2], stride, bins, width, ratio);
  return down.map((wy) =>
    across.map((wx) => {
      let sum = 0;
      for (let y = 0; y < height; y++) {
        if (!wy[y]) continue;
        for (let x = 0; x < width; x++) if (wx[x]) sum += wy[y] * wx[x] * map[y * width + x];
      }
      return sum;
    }),
  );
}
