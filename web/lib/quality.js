// Panoptic quality, mean IoU and mask AP. The same as pfpn.quality, panopticapi and COCO's
// evaluation; tests compare them.
//
// A map is { idMap, segments }: a flat array of ids, and for each segment
// { id, label, isThing, isCrowd, score }. Labels count things from 0 and stuff from 1.

import { IGNORE, VOID } from "./merge.js";

export const MATCH_IOU = 0.5; // a pair matches above, not at, this IoU
export const IGNORED_FRACTION = 0.5; // a predicted segment with more of it on void or crowd is ignored

const ratio = (part, whole) => (whole > 0 ? part / whole : 0);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const classOf = ({ isThing, label }) => `${isThing ? "thing" : "stuff"} ${label}`;

// Count the pixels of every pair of ids in two maps of one image: [true id, predicted id, pixels] by
// ascending ids, and the area of every id; VOID is among the ids.
export function countOverlaps(gtMap, predMap) {
  if (gtMap.length !== predMap.length) {
    throw new Error(
      `quality: found maps of ${gtMap.length} and ${predMap.length} pixels, expected one size`,
    );
  }
  const counts = new Map();
  const gtAreas = new Map();
  const predAreas = new Map();
  const add = (areas, id, pixels) => areas.set(id, (areas.get(id) ?? 0) + pixels);
  for (let end = 1, start = 0; end <= gtMap.length; end++) {
    // Neighbors are mostly equal, so that runs of equal pixels are counted.
    if (end < gtMap.length && gtMap[end] === gtMap[start] && predMap[end] === predMap[start]) continue;
    if (!counts.has(gtMap[start])) counts.set(gtMap[start], new Map());
    add(counts.get(gtMap[start]), predMap[start], end - start);
    add(gtAreas, gtMap[start], end - start);
    add(predAreas, predMap[start], end - start);
    start = end;
  }
  const ascending = (entries) => [...entries].sort(([a], [b]) => a - b);
  const pairs = ascending(counts).flatMap(([gt, row]) =>
    ascending(row).map(([pred, pixels]) => [gt, pred, pixels]),
  );
  return { pairs, gtAreas, predAreas };
}

// Match true and predicted segments of one class that overlap by more than half; find what is
// ignored. Void pixels of the truth leave the union; of several crowds of one class the last counts.
export function matchSegments(gt, prediction) {
  const overlaps = countOverlaps(gt.idMap, prediction.idMap);
  const onVoid = new Map();
  for (const [gtId, predId, pixels] of overlaps.pairs) if (gtId === VOID) onVoid.set(predId, pixels);
  const pairs = candidatePairs(gt, prediction, overlaps, onVoid).filter(({ iou }) => iou > MATCH_IOU);

  const matchedTruth = new Set(pairs.map(({ truth }) => truth.id));
  const matchedPred = new Set(pairs.map(({ predicted }) => predicted.id));
  const crowds = new Map();
  for (const segment of gt.segments) if (segment.isCrowd) crowds.set(classOf(segment), segment.id);
  const onCrowd = new Map();
  for (const [gtId, predId, pixels] of overlaps.pairs) onCrowd.set(`${gtId} ${predId}`, pixels);
  const ignored = gt.segments.filter(({ isCrowd }) => isCrowd);
  const falsePositives = [];
  for (const segment of prediction.segments) {
    if (matchedPred.has(segment.id)) continue;
    const crowd = onCrowd.get(`${crowds.get(classOf(segment))} ${segment.id}`) ?? 0;
    const outside = (onVoid.get(segment.id) ?? 0) + crowd;
    const isIgnored = outside / overlaps.predAreas.get(segment.id) > IGNORED_FRACTION;
    (isIgnored ? ignored : falsePositives).push(segment);
  }
  const falseNegatives = gt.segments.filter(({ id, isCrowd }) => !isCrowd && !matchedTruth.has(id));
  return { pairs, falsePositives, falseNegatives, ignored };
}

// Every true and predicted segment of one class that overlap at all, with their intersection, union
// and IoU; crowds have none.
export function candidatePairs(gt, prediction, overlaps, onVoid) {
  const truths = new Map(gt.segments.map((segment) => [segment.id, segment]));
  const predictions = new Map(prediction.segments.map((segment) => [segment.id, segment]));
  const pairs = [];
  for (const [gtId, predId, intersection] of overlaps.pairs) {
    if (gtId === VOID || predId === VOID) continue;
    const truth = listed(truths, gtId, "truth");
    const predicted = listed(predictions, predId, "prediction");
    if (truth.isCrowd || classOf(truth) !== classOf(predicted)) continue;
    const union =
      overlaps.gtAreas.get(gtId) +
      overlaps.predAreas.get(predId) -
      intersection -
      (onVoid.get(predId) ?? 0);
    pairs.push({ truth, predicted, intersection, union, iou: intersection / union });
  }
  return pairs;
}

function listed(segments, id, where) {
  const segment = segments.get(id);
  if (!segment) throw new Error(`quality: id ${id} is in the map of the ${where}, but not listed`);
  return segment;
}

// PQ, SQ and RQ of all classes over images whose segments are matched, with their means over all
// classes that count, over things and over stuff; null where none counts.
export function panopticQuality(images, categories) {
  const perClass = labeled(categories).map(({ category, key }) => {
    const ofClass = (segments) => segments.filter((segment) => classOf(segment) === key).length;
    const entry = { category, tp: 0, fp: 0, fn: 0, iouSum: 0 };
    for (const { pairs, falsePositives, falseNegatives } of images) {
      for (const { truth, iou } of pairs) {
        if (classOf(truth) !== key) continue;
        entry.tp += 1;
        entry.iouSum += iou;
      }
      entry.fp += ofClass(falsePositives);
      entry.fn += ofClass(falseNegatives);
    }
    return { ...entry, ...qualityOf(entry) };
  });
  const counted = perClass.filter(({ counts }) => counts);
  return {
    all: average(counted),
    things: average(counted.filter(({ category }) => category.isThing)),
    stuff: average(counted.filter(({ category }) => !category.isThing)),
    perClass,
  };
}

// The figures of one class from its counts: PQ = SQ * RQ.
export function qualityOf({ tp, fp, fn, iouSum }) {
  const segments = tp + 0.5 * fp + 0.5 * fn;
  return {
    counts: tp + fp + fn > 0,
    pq: ratio(iouSum, segments),
    sq: ratio(iouSum, tp),
    rq: ratio(tp, segments),
  };
}

function average(entries) {
  if (!entries.length) return null;
  const [pq, sq, rq] = ["pq", "sq", "rq"].map((name) => mean(entries.map((entry) => entry[name])));
  return { pq, sq, rq, numClasses: entries.length };
}

// Each category with its class: things are numbered from 0, stuff from 1, both by ascending id.
function labeled(categories) {
  const ids = (isThing) =>
    categories.filter((c) => c.isThing === isThing).map(({ id }) => id).sort((a, b) => a - b);
  const [things, stuff] = [ids(true), ids(false)];
  return categories.map((category) => {
    const { id, isThing } = category;
    const label = isThing ? things.indexOf(id) : 1 + stuff.indexOf(id);
    return { category, key: classOf({ isThing, label }) };
  });
}

// Each pixel's label: things from 0, then stuff; IGNORE where no segment is.
export function labelMapOf({ idMap, segments }, numThings) {
  const labels = new Map();
  for (const { id, label, isThing } of segments) labels.set(id, isThing ? label : label + numThings - 1);
  return Array.from(idMap, (id) => labels.get(id) ?? IGNORE);
}

// Mean IoU and pixel accuracy of label maps over images [{ truth, predicted }]; null where there is
// nothing to measure. A true IGNORE is left out, a predicted one is wrong without a class.
export function semanticQuality(images, numClasses) {
  const counts = Array.from({ length: numClasses }, () => ({ hits: 0, truth: 0, predicted: 0 }));
  let pixels = 0;
  for (const { truth, predicted } of images) {
    truth.forEach((label, pixel) => {
      if (label === IGNORE) return;
      const other = predicted[pixel];
      pixels += 1;
      counts[label].truth += 1;
      if (other !== IGNORE) counts[other].predicted += 1;
      if (other === label) counts[label].hits += 1;
    });
  }
  const perClass = counts.map(({ hits, truth, predicted }) =>
    truth + predicted > 0 ? hits / (truth + predicted - hits) : null,
  );
  const counted = perClass.filter((iou) => iou !== null);
  const hits = counts.reduce((sum, each) => sum + each.hits, 0);
  return {
    miou: counted.length ? mean(counted) : null,
    pixelAccuracy: pixels ? hits / pixels : null,
    perClass,
  };
}

// Mask AP ------------------------------------------------------------------------------------------

const IOU_THRESHOLDS = Array.from({ length: 10 }, (_, i) => (i === 9 ? 0.95 : 0.5 + i * 0.05));
const RECALLS = Array.from({ length: 101 }, (_, i) => i * 0.01);
const MAX_DETECTIONS = 100; // of one class in one image

// The things of two maps as objects and detections, with the IoU of each pair. As in COCO, a
// detection's IoU with a crowd is the fraction of the detection that lies on it, and void is like any
// other place.
export function thingsOf(gt, prediction) {
  const { pairs, gtAreas, predAreas } = countOverlaps(gt.idMap, prediction.idMap);
  const pixels = new Map(pairs.map(([gtId, predId, count]) => [`${gtId} ${predId}`, count]));
  const truths = gt.segments.filter(({ isThing }) => isThing);
  const detections = prediction.segments.filter(({ isThing }) => isThing);
  const ious = detections.map(({ id }) =>
    truths.map((truth) => {
      const both = pixels.get(`${truth.id} ${id}`) ?? 0;
      const area = predAreas.get(id);
      return both / (truth.isCrowd ? area : gtAreas.get(truth.id) + area - both);
    }),
  );
  return { truths, detections, ious };
}

// The mean over classes and over the IoU thresholds .5, .55, ..., .95 of the average precision;
// null where no class has an object. An image is { truths, detections, ious[detection][truth] }.
export function averagePrecision(images, thresholds = IOU_THRESHOLDS) {
  const labels = new Set(images.flatMap(({ truths }) => truths.map(({ label }) => label)));
  const values = [...labels].flatMap((label) =>
    thresholds.map((threshold) => precisionOf(images, label, threshold)),
  );
  const counted = values.filter((value) => value !== null);
  return counted.length ? mean(counted) : null;
}

// The average precision of one class at one IoU threshold, over 101 recalls.
function precisionOf(images, label, threshold) {
  const results = images.map((image) => matchDetections(image, label, threshold));
  const objects = results.reduce((sum, each) => sum + each.objects, 0);
  if (!objects) return null;
  const ranked = results
    .flatMap(({ detections }) => detections)
    .sort((a, b) => b.score - a.score) // stable
    .filter(({ isIgnored }) => !isIgnored);
  let hits = 0;
  const recalls = [];
  const precisions = ranked.map(({ isRight }, before) => {
    hits += Number(isRight);
    recalls.push(hits / objects);
    return hits / (before + 1);
  });
  for (let i = precisions.length - 1; i > 0; i--) {
    precisions[i - 1] = Math.max(precisions[i - 1], precisions[i]);
  }
  return mean(
    RECALLS.map((recall) => precisions[recalls.findIndex((reached) => reached >= recall)] ?? 0),
  );
}

// Give each detection of a class, the highest score first, the object with the highest IoU that no
// other has; one on a crowd is ignored.
function matchDetections({ truths, detections, ious }, label, threshold) {
  const indices = (rows) => [...rows.keys()].filter((i) => rows[i].label === label);
  const objects = indices(truths).sort((a, b) => Boolean(truths[a].isCrowd) - Boolean(truths[b].isCrowd));
  const taken = new Set();
  const ranked = indices(detections).sort((a, b) => detections[b].score - detections[a].score);
  const results = ranked.slice(0, MAX_DETECTIONS).map((d) => {
    let best = null;
    let bestIou = Math.min(threshold, 1 - 1e-10);
    for (const object of objects) {
      const { isCrowd } = truths[object];
      if (taken.has(object) && !isCrowd) continue;
      if (best !== null && !truths[best].isCrowd && isCrowd) break; // an object before any crowd
      if (ious[d][object] < bestIou) continue;
      bestIou = ious[d][object];
      best = object;
    }
    if (best !== null) taken.add(best);
    const isIgnored = best !== null && Boolean(truths[best].isCrowd);
    return { score: detections[d].score, isRight: best !== null, isIgnored };
  });
  return { detections: results, objects: objects.filter((o) => !truths[o].isCrowd).length };
}
