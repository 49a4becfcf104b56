// Optimizers as in torch.optim: each turns one gradient after the other into steps.

export const OPTIMIZERS = {
  descent: "gradient descent",
  momentum: "momentum 0.9",
  adam: "Adam",
};

// Return a function from a gradient to the step that is added to the point.
export function makeOptimizer(name, rate) {
  if (name === "descent") return (gradient) => gradient.map((g) => -rate * g);
  if (name === "momentum") return makeMomentum(rate, 0.9);
  if (name === "adam") return makeAdam(rate, 0.9, 0.999, 1e-8);
  throw new Error(`optimizers: found ${name}, expected ${Object.keys(OPTIMIZERS).join(", ")}`);
}

function makeMomentum(rate, momentum) {
  let velocity = null;
  return (gradient) => {
    velocity = gradient.map((g, i) => (velocity ? momentum * velocity[i] : 0) + g);
    return velocity.map((v) => -rate * v);
  };
}

// Source: Kingma and Ba, Adam, 2015, Algorithm 1.
function makeAdam(rate, beta1, beta2, epsilon) {
  let num = 0;
  let first = null;
  let second = null;
  return (gradient) => {
    num += 1;
    first = gradient.map((g, i) => (first ? beta1 * first[i] : 0) + (1 - beta1) * g);
    second = gradient.map((g, i) => (second ? beta2 * second[i] : 0) + (1 - beta2) * g * g);
    return first.map((m, i) => {
      const root = Math.sqrt(second[i] / (1 - beta2 ** num)) + epsilon;
      return (-rate * m) / (1 - beta1 ** num) / root;
    });
  };
}
