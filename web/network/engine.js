// What the page computes itself from the network's output: label map, masks in the image, the merge,
// the score; and the pictures that it reads.

import { softmax } from "../lib/boxes.js";
import { merge } from "../lib/merge.js";
import { CATEGORIES } from "../lib/palette.js";
import { pasteWindow } from "../lib/paste.js";
import { matchSegments, panopticQuality } from "../lib/quality.js";
import { SIZE } from "./state.js";

const PIXELS = SIZE.width * SIZE.height;

// Read a picture as planar RGB bytes; one of another size is cut to the ratio and scaled.
export async function readPicture(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(SIZE.width / bitmap.width, SIZE.height / bitmap.height);
  const [width, height] = [SIZE.width / scale, SIZE.height / scale];
  pen.imageSmoothingQuality = "high";
  const [left, top] = [(bitmap.width - width) / 2, (bitmap.height - height) / 2];
  pen.drawImage(bitmap, left, top, width, height, 0, 0, SIZE.width, SIZE.height);
  const { data } = pen.getImageData(0, 0, SIZE.width, SIZE.height);
  const image = new Uint8Array(3 * PIXELS);
  for (let i = 0; i < PIXELS; i++) for (let c = 0; c < 3; c++) image[c * PIXELS + i] = data[4 * i + c];
  return image;
}

export async function fetchStreet(number, entry) {
  const read = async (name) => readPicture(await (await fetch(`streets/${name}.png`)).blob());
  const [image, ids] = await Promise.all([read(number), read(`${number}-truth`)]);
  return { image, truth: { idMap: Int32Array.from(ids.subarray(0, PIXELS)), segments: entry.segments } };
}

// The best label of every pixel, of logits of classes x pixels; of equal ones the first.
export function bestLabels(logits, numClasses) {
  const labels = new Uint8Array(PIXELS);
  for (let i = 0; i < PIXELS; i++) {
    let best = 0;
    for (let c = 1; c < numClasses; c++) if (logits[c * PIXELS + i] > logits[best * PIXELS + i]) best = c;
    labels[i] = best;
  }
  return labels;
}

// The probability of each pixel's best label.
export function confidenceOf({ data, dims: [, numClasses] }, labels) {
  const logits = new Array(numClasses);
  return Float32Array.from(labels, (label, i) => {
    for (let c = 0; c < numClasses; c++) logits[c] = data[c * PIXELS + i];
    return softmax(logits)[label];
  });
}

// Add to the network's result what follows from it without any setting.
export function finish(result) {
  const { candidates, detections } = result.detected;
  const instances = detections.map((index, i) => {
    const { box, score, label } = candidates[index];
    return { box, score, label, probs: result.maskProbs[i], window: pasteWindow(result.maskProbs[i], box, SIZE) };
  });
  const labelMap = bestLabels(result.maps.logits.data, result.maps.logits.dims[1]);
  const confidence = confidenceOf(result.maps.logits, labelMap);
  return { ...result, instances, labelMap, confidence };
}

// Merge with the state's limits; of a branch that is cut off, nothing. `step` stops after so many
// instances: stuff is filled in only after the last one.
export function mergeAll({ instances, labelMap, confidence }, state) {
  const isSofter = state.rule === "softer";
  const settings = {
    minScore: state.score, maxOverlap: state.overlap, minStuffArea: state.area, margin: state.margin,
    stuffConfidence: isSofter ? confidence : null,
  };
  const chosen = state.branch === "stuff" ? [] : instances;
  const labels = state.branch === "instances" ? new Uint8Array(PIXELS) : labelMap;
  const whole = merge(chosen, labels, SIZE, settings);
  return { ...whole, chosen, labels, settings };
}

// The map after the first `step` instances, without stuff before the last.
export function mapAfter(merged, step) {
  const { steps, idMap } = merged;
  if (step >= steps.length + 1) return idMap;
  const ids = new Set(steps.slice(0, step).map(({ id }) => id).filter(Boolean));
  return idMap.map((id) => (ids.has(id) ? id : 0));
}

export function scoreOf(truth, merged) {
  const matches = matchSegments(truth, merged);
  return { matches, quality: panopticQuality([matches], CATEGORIES) };
}
