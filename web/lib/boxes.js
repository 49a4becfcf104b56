// Boxes: anchors, decoding, IoU, NMS. The same functions as pfpn.anchors, pfpn.boxes and
// pfpn.rpn; tests compare them. A box is [x0, y0, x1, y1] in pixels, half-open. Where Python computes
// in float32, so do these, by Math.fround after each step.

const f = Math.fround;

export const MAX_LOG_SCALE = Math.log(1000 / 16); // a box grows at most 62.5 times
export const RPN_WEIGHTS = [1, 1, 1, 1];
export const BOX_WEIGHTS = [10, 10, 5, 5];

export const sigmoid = (v) => (v >= 0 ? 1 / (1 + Math.exp(-v)) : Math.exp(v) / (1 + Math.exp(v)));

// The probabilities of logits.
export function softmax(logits) {
  const most = Math.max(...logits);
  const parts = Array.from(logits, (logit) => Math.exp(logit - most));
  const total = parts.reduce((sum, part) => sum + part, 0);
  return parts.map((part) => part / total);
}

// The anchors of one cell, one for each ratio (height / width), around the cell's upper left corner.
export function anchorsAt(row, column, stride, side, ratios) {
  return ratios.map((ratio) => {
    const root = f(Math.sqrt(ratio));
    const [halfWidth, halfHeight] = [f(f(0.5 * side) / root), f(f(0.5 * side) * root)];
    const [x, y] = [stride * column, stride * row];
    return [f(x - halfWidth), f(y - halfHeight), f(x + halfWidth), f(y + halfHeight)];
  });
}

// Move and resize a box by deltas [dx, dy, dw, dh].
export function decode(deltas, box, weights = RPN_WEIGHTS) {
  const size = [f(box[2] - box[0]), f(box[3] - box[1])];
  const low = [];
  const high = [];
  for (const axis of [0, 1]) {
    const shift = f(deltas[axis] / weights[axis]);
    const growth = Math.min(f(deltas[2 + axis] / weights[2 + axis]), f(MAX_LOG_SCALE));
    const center = f(f(box[axis] + f(0.5 * size[axis])) + f(shift * size[axis]));
    const half = f(0.5 * f(size[axis] * f(Math.exp(growth))));
    low.push(f(center - half));
    high.push(f(center + half));
  }
  return [...low, ...high];
}

// Cut a box off at the borders of an image of { width, height }.
export function clip(box, { width, height }) {
  return box.map((value, i) => Math.min(i % 2 ? height : width, Math.max(0, value)));
}

export const isNonempty = ([x0, y0, x1, y1]) => x1 > x0 && y1 > y0;
const area = ([x0, y0, x1, y1]) => f(f(x1 - x0) * f(y1 - y0));

// Intersection over union of two boxes; 0 for two empty ones.
export function iou(a, b) {
  const width = Math.max(0, f(Math.min(a[2], b[2]) - Math.max(a[0], b[0])));
  const height = Math.max(0, f(Math.min(a[3], b[3]) - Math.max(a[1], b[1])));
  const intersection = f(width * height);
  return intersection > 0 ? f(intersection / f(f(area(a) + area(b)) - intersection)) : 0;
}

// Indices by decreasing score; equal scores keep their order.
export function orderOf(scores) {
  return Array.from(scores, (_, i) => i).sort((i, j) => scores[j] - scores[i] || i - j);
}

// Non-maximum suppression within groups, best first. One step for each box: `by` is the index of the
// kept box that suppressed it, null where it is kept; `overlap` is the IoU with it, or for a kept box
// the largest with a better one of its group.
export function nmsSteps(boxes, scores, groups, threshold) {
  const kept = new Map();
  return orderOf(scores).map((index) => {
    const rivals = kept.get(groups[index]) ?? [];
    let [by, overlap, closest] = [null, 0, null];
    for (const rival of rivals) {
      const value = iou(boxes[index], boxes[rival]);
      if (value > overlap) [overlap, closest] = [value, rival];
      if (value > threshold) {
        [by, overlap, closest] = [rival, value, rival];
        break;
      }
    }
    if (by === null) kept.set(groups[index], [...rivals, index]);
    return { index, by, overlap, closest };
  });
}

// Indices of the boxes that NMS keeps, best first.
export function nms(boxes, scores, groups, threshold) {
  return nmsSteps(boxes, scores, groups, threshold)
    .filter(({ by }) => by === null)
    .map(({ index }) => index);
}

// Proposals of one image: the best anchors of each level, moved by their deltas, clipped and thinned
// by NMS within their level; the best of all levels stay. Levels are { logits, deltas, anchors }, flat
// arrays. Returns all candidates with the steps of NMS, and the indices of the proposals.
export function selectProposals(levels, size, { perLevel, total, threshold }) {
  const candidates = [];
  levels.forEach(({ logits, deltas, anchors }, level) => {
    for (const at of orderOf(logits).slice(0, perLevel)) {
      const [delta, anchor] = [deltas, anchors].map((flat) => [...flat.slice(4 * at, 4 * at + 4)]);
      const box = clip(decode(delta, anchor), size);
      if (Number.isFinite(logits[at]) && isNonempty(box)) {
        candidates.push({ level, at, anchor, delta, box, logit: logits[at] });
      }
    }
  });
  const [boxes, logits, groups] = ["box", "logit", "level"].map((key) => candidates.map((c) => c[key]));
  const steps = nmsSteps(boxes, logits, groups, threshold);
  const kept = steps.filter(({ by }) => by === null).map(({ index }) => index);
  return { candidates, steps, proposals: kept.slice(0, total) };
}

// Detections of one image: each pair of proposal and class with a score above `minScore` gives a box;
// NMS thins them within their class. `logits` has things, then background, for each proposal.
export function detect(logits, deltas, proposals, size, { minScore, threshold, most }) {
  const numThings = proposals.length ? logits.length / proposals.length - 1 : 0;
  const candidates = [];
  proposals.forEach((proposal, row) => {
    const start = row * (numThings + 1);
    const scores = softmax(logits.slice(start, start + numThings + 1));
    for (let label = 0; label < numThings; label++) {
      const score = f(scores[label]);
      if (!(score > f(minScore))) continue;
      const at = 4 * (row * numThings + label);
      const delta = [...deltas.slice(at, at + 4)];
      const decoded = decode(delta, proposal, BOX_WEIGHTS);
      if (!decoded.every(Number.isFinite)) continue;
      candidates.push({ row, label, score, delta, box: clip(decoded, size) });
    }
  });
  const [boxes, scores, groups] = ["box", "score", "label"].map((key) => candidates.map((c) => c[key]));
  const steps = nmsSteps(boxes, scores, groups, threshold);
  const kept = steps.filter(({ by }) => by === null).map(({ index }) => index);
  return { candidates, steps, detections: kept.slice(0, most) };
}
