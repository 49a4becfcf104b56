// Merging: every pixel gets at most one segment. The same rules as pfpn.merge; tests compare them.
//
// Maps are flat arrays, row by row. A window is a mask cut out of the image:
// { top, left, width, height, mask }, where mask has 1 for each of its pixels. An instance is
// { window, score, label }.

export const VOID = 0; // id of a pixel without a segment
export const OTHER = 0; // the semantic branch's one label for every thing
export const IGNORE = 255; // label of a pixel without any
export const DEFAULTS = { minScore: 0.5, maxOverlap: 0.5, minStuffArea: 4096, margin: 0 };

const isStuff = (label) => label !== OTHER && label !== IGNORE;

// Call act(pixel) for each pixel of a window's mask, as an index into the map.
export function eachPixel(window, size, act) {
  const { top, left, width, height, mask } = window;
  for (let row = 0; row < height; row++) {
    const start = (top + row) * size.width + left;
    for (let column = 0; column < width; column++) {
      if (mask[row * width + column]) act(start + column);
    }
  }
}

// Whether a window's mask covers a pixel.
export function covers({ top, left, width, height, mask }, size, pixel) {
  const row = Math.floor(pixel / size.width) - top;
  const column = (pixel % size.width) - left;
  if (row < 0 || column < 0 || row >= height || column >= width) return false;
  return Boolean(mask[row * width + column]);
}

// The softer rule: the probability of the predicted stuff, 0 where there is none.
export function stuffProbs(labelMap, confidence) {
  return Float32Array.from(confidence, (prob, pixel) => (isStuff(labelMap[pixel]) ? prob : 0));
}

// Merge instances and the label map of the semantic branch. With `stuffConfidence`, its probability
// of its best label, a pixel is stuff where that exceeds the instance's score by more than `margin`.
export function merge(instances, labelMap, size, settings = {}) {
  const { stuffConfidence = null, ...limits } = settings;
  const probs = stuffConfidence && stuffProbs(labelMap, stuffConfidence);
  const pasted = pasteInstances(instances, size, { ...limits, stuffProbs: probs });
  return { ...fillStuff(pasted, labelMap, limits), steps: pasted.steps };
}

// Give pixels to instances by decreasing score; drop one that loses too much of its mask. Each step
// says what became of one instance: its `fate` is "kept", "score" (below minScore), "empty" (a mask
// without a pixel) or "hidden" (too much lost); `lost` counts its pixels that better instances and
// that stuff took.
export function pasteInstances(instances, size, settings = {}) {
  const { minScore, maxOverlap, margin } = { ...DEFAULTS, ...settings };
  const probs = settings.stuffProbs ?? null;
  const idMap = new Int32Array(size.width * size.height).fill(VOID);
  const segments = [];
  const steps = [];
  for (const index of byScore(instances)) {
    const { window, label } = instances[index];
    const score = Math.fround(instances[index].score); // Python compares in the scores' float32
    checkWindow(window, size);
    const claim = claimOf(window, size, idMap, probs, Math.fround(score + margin));
    const step = { index, score, label, id: null, ...claim };
    step.fate = fateOf(step, Math.fround(minScore), maxOverlap);
    if (step.fate === "kept") {
      step.id = segments.length + 1;
      segments.push({ id: step.id, label, isThing: true, score });
      for (const pixel of claim.pixels) idMap[pixel] = step.id;
    }
    delete step.pixels;
    steps.push(step);
  }
  return { idMap, segments, steps };
}

// Indices by decreasing score; equal scores keep their order.
export function byScore(instances) {
  const score = (index) => Math.fround(instances[index].score);
  return instances.map((_, index) => index).sort((a, b) => score(b) - score(a) || a - b);
}

// The pixels that an instance can get, and how many it loses to whom.
function claimOf(window, size, idMap, probs, limit) {
  const pixels = [];
  const lost = { better: 0, stuff: 0 };
  let area = 0;
  eachPixel(window, size, (pixel) => {
    area += 1;
    if (idMap[pixel] !== VOID) lost.better += 1;
    else if (probs && probs[pixel] > limit) lost.stuff += 1;
    else pixels.push(pixel);
  });
  return { pixels, area, left: pixels.length, lost };
}

function fateOf({ score, area, left }, minScore, maxOverlap) {
  if (area === 0) return "empty";
  if (score < minScore) return "score";
  return left === 0 || (area - left) / area > maxOverlap ? "hidden" : "kept";
}

function checkWindow({ top, left, width, height, mask }, size) {
  const inside = top >= 0 && left >= 0 && top + height <= size.height && left + width <= size.width;
  if (!inside || mask.length !== width * height) {
    throw new Error(
      `merge: found a window of ${mask.length} pixels at rows ${top}..${top + height}, columns ` +
        `${left}..${left + width}, expected ${width} x ${height} pixels inside ` +
        `${size.width} x ${size.height}`,
    );
  }
}

// Give the pixels without an instance to the stuff predicted there, one segment for each label, by
// ascending label. Each region says whether it is `kept`: smaller ones than minStuffArea are not.
export function fillStuff({ idMap, segments }, labelMap, settings = {}) {
  const { minStuffArea } = { ...DEFAULTS, ...settings };
  const areas = new Map();
  labelMap.forEach((label, pixel) => {
    if (idMap[pixel] === VOID && isStuff(label)) areas.set(label, (areas.get(label) ?? 0) + 1);
  });
  const filled = { idMap: Int32Array.from(idMap), segments: [...segments], regions: [] };
  const ids = new Map();
  let next = 1 + Math.max(VOID, ...segments.map(({ id }) => id));
  for (const label of [...areas.keys()].sort((a, b) => a - b)) {
    const region = { label, area: areas.get(label), kept: areas.get(label) >= minStuffArea, id: null };
    if (region.kept) {
      region.id = next++;
      ids.set(label, region.id);
      filled.segments.push({ id: region.id, label, isThing: false, score: 1 });
    }
    filled.regions.push(region);
  }
  labelMap.forEach((label, pixel) => {
    if (idMap[pixel] === VOID) filled.idMap[pixel] = ids.get(label) ?? VOID;
  });
  return filled;
}

// Who claimed a pixel: every instance whose mask covers it, by decreasing score, and the stuff that
// is predicted there, each with what became of its claim:
//   "got"     the pixel is in this segment
//   "score", "hidden", "empty"   the whole instance was left out
//   "better"  a better instance had taken the pixel
//   "stuff"   the stuff there is more confident than this instance (softer rule)
//   "taken"   an instance has the pixel, so the stuff does not get it
//   "small"   the region of this stuff is too small
//   "none"    the semantic branch says "other", or nothing
export function whoClaims(pixel, instances, labelMap, size, merged) {
  const claims = [];
  let holder = null; // the instance that has the pixel
  for (const step of merged.steps) {
    if (!covers(instances[step.index].window, size, pixel)) continue;
    let fate = step.fate;
    if (fate === "kept") {
      fate = merged.idMap[pixel] === step.id ? "got" : holder ? "better" : "stuff";
      if (fate === "got") holder = step;
    }
    claims.push({ kind: "instance", index: step.index, label: step.label, score: step.score, fate });
  }
  const label = labelMap[pixel];
  const region = merged.regions.find((each) => each.label === label);
  const fate = !isStuff(label) ? "none" : holder ? "taken" : region.kept ? "got" : "small";
  return [...claims, { kind: "stuff", label, fate }];
}

// One segment for each label, for a semantic branch alone: 0..numThings-1 things, then stuff.
export function segmentsFromLabels(labelMap, { numThings = 0, minArea = 1 } = {}) {
  const areas = new Map();
  for (const label of labelMap) areas.set(label, (areas.get(label) ?? 0) + 1);
  const ids = new Map();
  const segments = [];
  for (const label of [...areas.keys()].sort((a, b) => a - b)) {
    if (label === IGNORE || areas.get(label) < Math.max(1, minArea)) continue;
    const isThing = label < numThings;
    ids.set(label, segments.length + 1);
    segments.push({
      id: segments.length + 1,
      label: isThing ? label : label - numThings + 1,
      isThing,
      score: 1,
    });
  }
  return { idMap: Int32Array.from(labelMap, (label) => ids.get(label) ?? VOID), segments };
}
