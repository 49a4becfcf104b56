import assert from "node:assert/strict";
import { test } from "node:test";

import { count, evaluate, extendJaccard, jaccard } from "../../web/lib/losses.js";

const LOSSES = [
  "jaccard", "hinge", "cross_entropy", "soft_jaccard", "dice", "lovasz_hinge", "lovasz_softmax",
];

test("the Jaccard loss is wrong pixels over truth or wrong", () => {
  assert.equal(jaccard([false, false], [0, 0]), 0);
  assert.equal(jaccard([true, false], [0, 1]), 1 / 2);
  assert.equal(jaccard([false, true], [0, 1]), 1);
  assert.deepEqual(count([true, true], [0, 1]), { intersection: 0, union: 2 });
});

test("pixels join from the largest error on, the earlier first where errors tie", () => {
  assert.deepEqual(extendJaccard([0.2, 0.9, 0.5], [1, 0, 1]).order, [1, 2, 0]);
  const { order, weights, value } = extendJaccard([0.5, 0.5], [0, 1]);
  assert.deepEqual(order, [0, 1]);
  assert.deepEqual(weights, [0.5, 0.5]);
  assert.equal(value, 0.5);
});

test("an absent class costs its largest error", () => {
  assert.equal(extendJaccard([0.1, 0.7, 0.3], [0, 0, 0]).value, 0.7);
});

test("gradients are differences of values", () => {
  const scores = [0.4, -1.3, 2.1];
  for (const loss of LOSSES.filter((name) => name !== "jaccard")) {
    for (const truth of [[0, 0, 0], [1, 0, 1], [1, 1, 1]]) {
      const { gradient } = evaluate(loss, truth, scores);
      gradient.forEach((slope, i) => {
        const [above, below] = [1e-6, -1e-6].map(
          (step) => evaluate(loss, truth, scores.map((v, j) => v + (i === j ? step : 0))).value,
        );
        assert.ok(Math.abs(slope - (above - below) / 2e-6) < 1e-6, `${loss} ${truth} ${i}`);
      });
    }
  }
});

test("large scores stay finite", () => {
  for (const loss of LOSSES) {
    const { value, gradient } = evaluate(loss, [0, 1], [800, -800]);
    assert.ok([value, ...gradient].every(Number.isFinite), loss);
  }
});

test("a gradient has no -0, which would be written as such", () => {
  for (const loss of LOSSES) {
    const { gradient } = evaluate(loss, [0, 1], [-5, 5]);
    assert.ok(!gradient.some((slope) => Object.is(slope, -0)), loss);
  }
});

test("an unknown loss is refused", () => {
  assert.throws(() => evaluate("focal", [0, 1], [0, 0]), /found focal, expected a loss/);
});
