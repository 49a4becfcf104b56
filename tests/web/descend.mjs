// The path of an optimizer down a loss: its points, the start first.
import { valueAndGradient } from "../../web/lib/losses.js";
import { makeOptimizer } from "../../web/lib/optimizers.js";

export function descend(loss, truth, start, optimizer, rate, steps) {
  const optimize = makeOptimizer(optimizer, rate);
  const points = [start];
  for (let i = 0; i < steps; i++) {
    const point = points.at(-1);
    const step = optimize(valueAndGradient(loss, truth, point).gradient);
    points.push(point.map((v, axis) => v + step[axis]));
  }
  return points;
}
