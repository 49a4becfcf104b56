import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { valueAndGradient } from "../../web/lib/losses.js";
import { arrowOf, between } from "../../web/surfaces/map.js";
import { firstPixel, secondPixel, setFirst } from "../../web/surfaces/simplex.js";
import * as view from "../../web/surfaces/state.js";
import { TOUR } from "../../web/surfaces/tour.js";

beforeEach(() => view.readState(""));

test("an arrow is as long as the slope, at either reach", () => {
  for (const reach of ["3", "6"]) {
    view.readState(`#reach=${reach}&loss=lovasz_softmax`);
    for (const point of [[0.5, 0.2], [2.5, -2.5]]) {
      const [start, end] = arrowOf("lovasz_softmax", point);
      const { gradient } = valueAndGradient("lovasz_softmax", [0, 1], point);
      const length = Math.hypot(end[0] - start[0], end[1] - start[1]);
      assert.ok(Math.abs(length - (2 / 3) * Number(reach) * Math.hypot(...gradient)) < 1e-12);
    }
  }
});

test("points between two lie on the line between them", () => {
  assert.deepEqual(between([[0, 0], [4, 8]], 4), [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]]);
  assert.deepEqual(between([[1, 2]]), [[1, 2]]);
});

test("each truth is seen from where both pixels are right, unless the address says otherwise", () => {
  view.readState("#truth=10");
  assert.equal(view.state.yaw, 305);
  view.readState("#truth=10&yaw=20");
  assert.equal(view.state.yaw, 20);
});

test("a point beyond the reach is brought to its edge", () => {
  view.readState("#x=5&y=-6");
  assert.deepEqual(view.pointOf(0), [3, -3]);
  view.readState("#x=5&y=-6&reach=6");
  assert.deepEqual(view.pointOf(0), [5, -6]);
});

test("a descent ends at the edge of the map, and where the gradient is 0", () => {
  view.readState("#loss=jaccard&second=cross_entropy&rate=10");
  let num = 0;
  while (view.stepDown()) num++;
  assert.ok(num > 0 && num < 100);
  assert.equal(view.trailOf(0).length, 1);
  assert.ok(!view.hasLeft(0));
  assert.ok(view.hasLeft(1));
  assert.ok(view.pointOf(1).some((v) => Math.abs(v) === 3));
});

test("an arrival is the step after which both pixels stay right", () => {
  view.readState("#loss=hinge&x=-1&y=1");
  assert.equal(view.arrivalOf(0), 0);
  view.readState("#loss=hinge&x=0.6&y=1");
  assert.equal(view.arrivalOf(0), null);
  for (let i = 0; i < 3; i++) view.stepDown(); // 0.35, 0.1, -0.15
  assert.equal(view.arrivalOf(0), 3);
});

test("the point goes back to where its descent started, then to where the page starts", () => {
  view.move(2, 2);
  view.stepDown();
  view.moveBack();
  assert.deepEqual(view.pointOf(0), [2, 2]);
  view.moveBack();
  assert.deepEqual(view.pointOf(0), [1.5, -0.8]);
});

test("many pixels move by their kind, and the slope is gathered", () => {
  view.readState("#pixels=rare&x=1&y=-2&loss=cross_entropy");
  const scores = view.scoresOf(view.pointOf(0));
  assert.equal(scores.length, 24);
  assert.equal(view.labels().filter(Boolean).length, 3);
  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  assert.ok(Math.abs(mean(scores.slice(0, 3)) - 1) < 1e-12);
  assert.ok(Math.abs(mean(scores.slice(3)) + 2) < 1e-12);
  const { gradient } = view.lossAt("cross_entropy", [1, -2]);
  for (const axis of [0, 1]) {
    const ends = [1e-5, -1e-5].map((step) => {
      const point = [1, -2].map((v, i) => v + (i === axis ? step : 0));
      return view.lossAt("cross_entropy", point).value;
    });
    assert.ok(Math.abs((ends[0] - ends[1]) / 2e-5 - gradient[axis]) < 1e-8);
  }
  assert.equal(view.state.yaw, 305);
  assert.equal(view.arrivalOf(0), null); // scores lie 1.5 around the point
  view.move(2, -2);
  assert.equal(view.arrivalOf(0), 0);
});

test("probabilities are brought back into the triangle", () => {
  setFirst([-0.2, 0.5, 0.5]);
  assert.deepEqual(firstPixel(), [0, 0.5, 0.5]);
  view.readState("#pa=0.8&pb=0.9");
  assert.ok(Math.abs(firstPixel().reduce((sum, p) => sum + p, 0) - 1) < 1e-12);
  view.readState("#sure=0.5");
  assert.deepEqual(secondPixel(), [0.25, 0.5, 0.25]);
});

test("every stop of the tour is an address that the page understands", () => {
  assert.equal(TOUR.length, 6);
  for (const { address, title, text } of TOUR) {
    assert.ok(title && text.length > 60);
    view.readState(address);
    for (const [name, value] of new URLSearchParams(address.slice(1))) {
      assert.equal(String(view.state[name]), value, `${address}: ${name}`);
    }
  }
});
