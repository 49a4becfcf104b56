import assert from "node:assert/strict";
import { test } from "node:test";

import { VOID, covers, eachPixel, merge, whoClaims } from "../../web/lib/merge.js";

const SIZE = { width: 4, height: 1 };
const row = (left, width) => ({ top: 0, left, width, height: 1, mask: new Uint8Array(width).fill(1) });
const INSTANCES = [
  { window: row(0, 2), score: 0.9, label: 2 },
  { window: row(0, 3), score: 0.6, label: 0 },
  { window: row(2, 2), score: 0.3, label: 1 },
];
const LABELS = [1, 2, 1, 3];
const claims = (pixel, settings) => {
  const merged = merge(INSTANCES, LABELS, SIZE, { minStuffArea: 1, ...settings });
  return whoClaims(pixel, INSTANCES, LABELS, SIZE, merged).map(({ fate }) => fate);
};

test("every claim on a pixel says what became of it", () => {
  assert.deepEqual(claims(0, { maxOverlap: 1 }), ["got", "better", "taken"]);
  assert.deepEqual(claims(2, { maxOverlap: 1 }), ["got", "score", "taken"]);
  assert.deepEqual(claims(2, { maxOverlap: 0.5 }), ["hidden", "score", "got"]);
  assert.deepEqual(claims(3), ["score", "got"]);
  assert.deepEqual(claims(3, { minStuffArea: 2 }), ["score", "small"]);
  const stuffConfidence = [0, 0, 0.8, 0.8];
  assert.deepEqual(claims(2, { maxOverlap: 1, minScore: 0, stuffConfidence }), ["hidden", "hidden", "got"]);
  const unsure = { maxOverlap: 1, minScore: 0, stuffConfidence: [0.95, 0, 0, 0] };
  assert.deepEqual(claims(0, unsure), ["stuff", "stuff", "got"]);
});

test("exactly one claim gets a pixel that has a segment, and none gets one without", () => {
  const settings = { minStuffArea: 2, maxOverlap: 0.5 };
  const merged = merge(INSTANCES, LABELS, SIZE, settings);
  merged.idMap.forEach((id, pixel) => {
    const got = claims(pixel, settings).filter((fate) => fate === "got").length;
    assert.equal(got, Number(id !== VOID));
  });
});

test("a window covers just the pixels of its mask", () => {
  const size = { width: 3, height: 3 };
  const window = { top: 1, left: 1, width: 2, height: 2, mask: [1, 0, 0, 1] };
  const pixels = [];
  eachPixel(window, size, (pixel) => pixels.push(pixel));
  assert.deepEqual(pixels, [4, 8]);
  assert.deepEqual([...Array(9).keys()].filter((pixel) => covers(window, size, pixel)), [4, 8]);
});

test("the inputs stay as they were", () => {
  const labels = Uint8Array.from(LABELS);
  merge(INSTANCES, labels, SIZE, { minStuffArea: 1 });
  assert.deepEqual([...labels], LABELS);
});

test("a window outside of the image is refused", () => {
  const outside = [{ window: row(3, 2), score: 1, label: 0 }];
  assert.throws(() => merge(outside, LABELS, SIZE), /columns 3\.\.5, expected 2 x 1 pixels inside 4 x 1/);
  const short = [{ window: { ...row(0, 2), mask: [1] }, score: 1, label: 0 }];
  assert.throws(() => merge(short, LABELS, SIZE), /a window of 1 pixels/);
});
