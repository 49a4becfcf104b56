// Losses of one foreground class over the scores of its pixels, with their gradients.
//
// The same functions as pfpn.plot.surface.loss_at and value_and_gradient; tests compare them.
// `truth` is an array of 0 (background) and 1 (foreground), `scores` has one number for each pixel.

export const sigmoid = (v) => (v >= 0 ? 1 / (1 + Math.exp(-v)) : Math.exp(v) / (1 + Math.exp(v)));
export const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;

// Intersection and union of truth and prediction, where just the pixels in `wrong` are wrong.
export function count(wrong, truth) {
  return {
    intersection: truth.filter((t, i) => t && !wrong[i]).length,
    union: truth.filter((t, i) => t || wrong[i]).length,
  };
}

// |wrong| / |truth or wrong|, the Jaccard loss of a set of wrong pixels; 0 where both are empty.
export function jaccard(wrong, truth) {
  const { union } = count(wrong, truth);
  return union ? wrong.filter(Boolean).length / union : 0;
}

// Algorithm 1 of the Lovász paper: pixels join the wrong pixels from the largest error on. Each
// has the rise of the Jaccard loss as its weight; where errors tie, the earlier pixel joins first.
export function extendJaccard(errors, truth) {
  const order = errors.map((_, i) => i).sort((i, j) => errors[j] - errors[i] || i - j);
  const weights = errors.map(() => 0);
  const steps = [];
  let intersection = sum(truth);
  let union = intersection;
  let last = 0;
  order.forEach((pixel, before) => {
    if (truth[pixel]) intersection -= 1;
    else union += 1;
    const loss = (before + 1) / union;
    weights[pixel] = loss - last;
    steps.push({ pixel, error: errors[pixel], rise: loss - last, loss, intersection, union });
    last = loss;
  });
  return { order, weights, steps, value: sum(errors.map((error, i) => weights[i] * error)) };
}

// The classes that the truth contains, foreground first, with 1 for each of their pixels. With two
// classes a pixel's error is the same for both.
export function presentClasses(truth) {
  return [
    { name: "foreground", labels: truth },
    { name: "background", labels: truth.map((t) => 1 - t) },
  ].filter(({ labels }) => labels.some(Boolean));
}

// Value and gradient of a loss at one point. "lovasz_softmax" is that of the foreground alone,
// "lovasz_softmax_present" the mean over the classes that the truth contains, the default of
// pfpn.losses.lovasz.lovasz_softmax.
export function valueAndGradient(loss, truth, scores) {
  const num = truth.length;
  const sign = truth.map((t) => 2 * t - 1);
  const agreement = scores.map((score, i) => sign[i] * score); // above 0 the pixel is right
  const hinge = agreement.map((a) => Math.max(0, 1 - a));
  const missing = agreement.map((a) => sigmoid(-a)); // 1 - probability of the true class
  switch (loss) {
    case "jaccard":
      return { value: jaccard(agreement.map((a) => a <= 0), truth), gradient: truth.map(() => 0) };
    case "hinge":
      return {
        value: sum(hinge) / num,
        gradient: sign.map((s, i) => (hinge[i] > 0 ? -s / num : 0)),
      };
    case "cross_entropy":
      return {
        value: sum(agreement.map((a) => softplus(-a))) / num,
        gradient: sign.map((s, i) => (-s * missing[i]) / num),
      };
    case "lovasz_hinge": {
      const { value, weights } = extendJaccard(hinge, truth);
      return { value, gradient: sign.map((s, i) => (hinge[i] > 0 ? -s * weights[i] : 0)) };
    }
    case "lovasz_softmax": {
      const { value, weights } = extendJaccard(missing, truth);
      const slope = missing.map((m) => m * (1 - m));
      return { value, gradient: sign.map((s, i) => -s * weights[i] * slope[i]) };
    }
    case "lovasz_softmax_present": {
      const extensions = presentClasses(truth).map(({ labels }) => extendJaccard(missing, labels));
      const slope = missing.map((m) => m * (1 - m));
      const weights = truth.map((_, i) => mean(extensions.map((each) => each.weights[i])));
      return {
        value: mean(extensions.map((each) => each.value)),
        gradient: sign.map((s, i) => -s * weights[i] * slope[i]),
      };
    }
    case "dice":
    case "soft_jaccard":
      return softLoss(loss, truth, scores);
    default:
      throw new Error(`losses: found ${loss}, expected a loss of LOSSES in palette.js`);
  }
}

// Dice and soft Jaccard: sums of probabilities in place of sets.
function softLoss(loss, truth, scores) {
  const probs = scores.map(sigmoid);
  const slope = probs.map((p) => p * (1 - p));
  const overlap = sum(probs.map((p, i) => p * truth[i]));
  const both = sum(probs) + sum(truth);
  if (loss === "dice") {
    return {
      value: 1 - (2 * overlap) / both,
      gradient: truth.map((t, i) => ((-2 * (t * both - overlap)) / both ** 2) * slope[i]),
    };
  }
  const union = both - overlap;
  return {
    value: 1 - overlap / union,
    gradient: truth.map((t, i) => (-(t * union - overlap * (1 - t)) / union ** 2) * slope[i]),
  };
}

// The discrete Jaccard loss at the four corners that a Lovász loss goes through: scores and value.
// A right pixel has hinge error 0 and a wrong one 1; or errors near 0 and 1, at scores of `reach`.
export function cornersOf(loss, truth, reach) {
  const classes = loss === "lovasz_softmax_present" ? presentClasses(truth) : [{ labels: truth }];
  return [[0, 0], [0, 1], [1, 0], [1, 1]].map((wrong) => ({
    scores: truth.map((t, i) => {
      const right = loss === "lovasz_hinge" ? 1 - wrong[i] : reach * (1 - 2 * wrong[i]);
      return (2 * t - 1) * right;
    }),
    value: mean(classes.map(({ labels }) => jaccard(wrong, labels))),
  }));
}

// All that a page shows of a point: value, gradient, errors, their order, intersection and union,
// and the discrete Jaccard loss. All but value and gradient are of one class, `of`.
export function evaluate(loss, truth, scores) {
  const { value, gradient } = valueAndGradient(loss, truth, scores);
  const agreement = scores.map((score, i) => (2 * truth[i] - 1) * score);
  const errors = agreement.map(
    loss.startsWith("lovasz_softmax") ? (a) => sigmoid(-a) : (a) => Math.max(0, 1 - a),
  );
  const [{ name, labels }] =
    loss === "lovasz_softmax_present"
      ? presentClasses(truth)
      : [{ name: "foreground", labels: truth }];
  const { order, steps } = extendJaccard(errors, labels);
  const wrong = agreement.map((a) => a <= 0);
  return {
    value,
    gradient: gradient.map((slope) => slope + 0), // no -0
    errors,
    of: name,
    order,
    steps,
    wrong,
    discrete: jaccard(wrong, labels),
    ...count(wrong, labels),
  };
}

// Losses of two pixels over the probabilities of three classes: the first pixel truly shows class
// 0, the second class 1. The same as pfpn.course.ch07_surfaces.simplex.evaluate_simplex.
export function simplexLoss(loss, first, second) {
  const pixels = [first, second];
  if (loss === "cross_entropy") {
    return mean(pixels.map((probs, i) => -Math.log(Math.max(probs[i], 1e-12))));
  }
  if (!["miou_loss", "present", "all"].includes(loss)) {
    throw new Error(`losses: found ${loss}, expected a loss of SIMPLEX in palette.js`);
  }
  const likeliest = (probs) => probs.map((_, c) => Number(c === probs.indexOf(Math.max(...probs))));
  const shown = loss === "miou_loss" ? pixels.map(likeliest) : pixels;
  const extensions = (loss === "all" ? [0, 1, 2] : [0, 1]).map((c) => {
    const labels = [Number(c === 0), Number(c === 1)];
    const errors = shown.map((probs, i) => Math.abs(labels[i] - probs[c]));
    return extendJaccard(errors, labels).value;
  });
  return mean(extensions);
}
