import assert from "node:assert/strict";
import { test } from "node:test";

import { camera, cells, contour, makeSurface } from "../../web/lib/surface.js";

test("the steps of the discrete loss stand upright", () => {
  const { axis, value } = makeSurface("jaccard", [0, 1], 3, 7);
  assert.deepEqual(axis.filter((v) => Math.abs(v) < 1e-6), [-1e-9, 1e-9]);
  assert.deepEqual(new Set(value.flat()), new Set([0, 0.5, 1]));
});

test("each cell has its four corners and their mean", () => {
  const all = cells({ axis: [0, 1, 2], value: [[0, 1, 2], [1, 2, 3], [2, 3, 4]] });
  assert.equal(all.length, 4);
  assert.deepEqual(all[0].ring, [[0, 0], [0, 1], [1, 1], [1, 0]]);
  assert.deepEqual(all.map(({ mean }) => mean), [1, 2, 2, 3]);
});

test("a contour of a plane is the straight line where it has that level", () => {
  const axis = Array.from({ length: 9 }, (_, i) => i / 4 - 1);
  const value = axis.map((y) => axis.map((x) => x + 2 * y));
  const pieces = contour({ axis, value }, 0.3);
  assert.ok(pieces.length > 4);
  for (const [x0, y0, x1, y1] of pieces) {
    assert.ok(Math.abs(x0 + 2 * y0 - 0.3) < 1e-12);
    assert.ok(Math.abs(x1 + 2 * y1 - 0.3) < 1e-12);
  }
});

test("a flat surface has no contour", () => {
  assert.deepEqual(contour({ axis: [0, 1], value: [[1, 1], [1, 1]] }, 1), []);
});

test("the eye turns around the middle and looks down", () => {
  const middle = { x: 100, y: 50 };
  for (const yaw of [0, 45, 200]) {
    const { x, y } = camera({ yaw, pitch: 30 }, 200, 100)(0, 0, 0.5);
    assert.deepEqual({ x, y }, middle);
  }
  const front = camera({ yaw: 0, pitch: 30 }, 200, 100);
  assert.ok(front(1, 0, 0).x > middle.x, "x points right");
  assert.ok(front(0, 0, 1).y < front(0, 0, 0).y, "z points up");
  assert.ok(front(0, 1, 0).depth > front(0, -1, 0).depth, "y points away");
  const turned = camera({ yaw: 90, pitch: 30 }, 200, 100);
  assert.ok(turned(1, 0, 0).depth > turned(-1, 0, 0).depth, "a quarter turn moves x to the back");
});
