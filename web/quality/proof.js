// The proof that a true segment has at most one match, as rectangles that try to break it.

export const BOARD = { width: 32, height: 16 };
export const TRUE_BOX = { x: 8, y: 4, width: 16, height: 8 };

export const PROOF_START = {
  ax: 7, ay: 4, aw: 10, ah: 8, bx: 17, by: 4, bw: 8, bh: 8, limit: 0.5, overlapping: "no", mover: "A",
};
const WIDE = [0, BOARD.width];
const HIGH = [0, BOARD.height];
export const PROOF_RULES = {
  ax: WIDE, ay: HIGH, aw: [1, BOARD.width], ah: [1, BOARD.height],
  bx: WIDE, by: HIGH, bw: [1, BOARD.width], bh: [1, BOARD.height],
  limit: [0.2, 0.8], overlapping: ["yes", "no"], mover: ["A", "B"],
};

// Where A and B are, in whole pixels of the board.
export function boxesOf(state) {
  return ["a", "b"].map((name) => {
    const [x, y, width, height] = ["x", "y", "w", "h"].map((side) => Math.round(state[name + side]));
    return fit({ x, y, width, height });
  });
}

const within = (value, low, high) => Math.min(high, Math.max(low, value));

// Bring a box onto the board.
function fit({ x, y, width, height }) {
  const [w, h] = [within(width, 1, BOARD.width), within(height, 1, BOARD.height)];
  return { x: within(x, 0, BOARD.width - w), y: within(y, 0, BOARD.height - h), width: w, height: h };
}

// Move and resize the box that state.mover names.
export function change(state, { dx = 0, dy = 0, dw = 0, dh = 0 }) {
  const name = state.mover.toLowerCase();
  const before = boxesOf(state)[state.mover === "A" ? 0 : 1];
  const { x, y, width, height } = fit({
    x: before.x + dx, y: before.y + dy, width: before.width + dw, height: before.height + dh,
  });
  Object.assign(state, { [`${name}x`]: x, [`${name}y`]: y, [`${name}w`]: width, [`${name}h`]: height });
}

const area = ({ width, height }) => width * height;

// The pixels that two boxes share, as a box; without area where they share none.
function common(a, b) {
  const [x, y] = [Math.max(a.x, b.x), Math.max(a.y, b.y)];
  const width = Math.max(0, Math.min(a.x + a.width, b.x + b.width) - x);
  const height = Math.max(0, Math.min(a.y + a.height, b.y + b.height) - y);
  return { x, y, width, height };
}

// IoU of A and B with T, and the pixels of T that each covers. Where A and B may not overlap, a pixel
// of both is A's.
export function judge([a, b], mayOverlap, truth = TRUE_BOX) {
  const [onA, onB, both] = [common(a, truth), common(b, truth), common(a, b)];
  const taken = mayOverlap ? 0 : area(both);
  const takenOfTruth = mayOverlap ? 0 : area(common(both, truth));
  const covered = [area(onA), area(onB) - takenOfTruth];
  const areas = [area(a), area(b) - taken];
  const ious = covered.map((pixels, i) => pixels / (area(truth) + areas[i] - pixels));
  return { ious, covered, areas, total: area(truth) };
}

const RESTART = 1000; // tries after which the search starts again from elsewhere
const SIDES = ["x", "y", "width", "height"];

// Change two boxes at random, `num` times, and keep each change that does not lower the lower of the
// two IoUs. Returns the best pair. `random` returns numbers in [0, 1).
export function search(num, mayOverlap, random = Math.random) {
  const whole = (low, high) => low + Math.floor(random() * (high - low + 1));
  const anywhere = () =>
    fit({ x: whole(0, 31), y: whole(0, 15), width: whole(1, 32), height: whole(1, 16) });
  const nudged = (box) => {
    const changed = { ...box };
    changed[SIDES[whole(0, 3)]] += whole(-1, 1);
    changed[SIDES[whole(0, 3)]] += whole(-1, 1);
    return fit(changed);
  };
  let best = { lower: -1, boxes: null };
  let current = best;
  for (let i = 0; i < num; i++) {
    const isNew = i % RESTART === 0;
    const boxes = isNew ? [anywhere(), anywhere()] : current.boxes.map(nudged);
    const { ious } = judge(boxes, mayOverlap);
    const lower = Math.min(...ious);
    const sum = ious[0] + ious[1]; // where the lower IoU stays, the sum decides
    if (isNew || lower > current.lower || (lower === current.lower && sum >= current.sum)) {
      current = { lower, sum, boxes };
    }
    if (lower > best.lower) best = current;
  }
  return best;
}
