// What the loss is at the point, in numbers and in words.

import { evaluate } from "../lib/losses.js";
import { LOSSES } from "../lib/palette.js";
import { labels, state } from "./state.js";

const WORDS = {
  jaccard: "Flat quadrants: the gradient is 0 wherever there is one, so nothing can be learned.",
  hinge: "Each pixel for itself, with the same weight.",
  cross_entropy: "Each pixel for itself, with the same weight. Smooth and convex.",
  soft_jaccard: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
  dice: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
  lovasz_hinge: "Errors times rises, summed. Convex in the scores; a kink where errors tie.",
  lovasz_softmax: "Errors times rises, summed. Convex in the errors, but not in the scores.",
};
const $ = (id) => document.getElementById(id);

export const fixed = (value, digits = 3) =>
  (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits);

export function writeReading() {
  const read = evaluate(state.loss, labels(), [state.x, state.y]);
  const order = `pixel ${read.order.map((i) => i + 1).join(", then ")}`;
  const rows = [
    ["loss", fixed(read.value)],
    ["gradient", `(${read.gradient.map((slope) => fixed(slope)).join(", ")})`],
    ["order of errors", read.errors[0] === read.errors[1] ? "a tie" : order],
    ["intersection I", String(read.intersection)],
    ["union U", String(read.union)],
    ["Jaccard loss", fixed(read.discrete)],
  ];
  $("reading").innerHTML = rows
    .map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`)
    .join("");
  $("steps").innerHTML = read.steps
    .map(({ pixel, error, intersection, union, loss, rise }) => {
      const cells = [pixel + 1, fixed(error), intersection, union, fixed(loss), fixed(rise)];
      return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
    })
    .join("");
  $("words").textContent = WORDS[state.loss];
  describe(read.value);
}

// The canvases in words, and the settings of the sliders.
function describe(value) {
  const spot = `(${fixed(state.x, 2)}, ${fixed(state.y, 2)})`;
  const title = LOSSES[state.loss].title;
  const words = `${title}, truth ${state.truth}: ${fixed(value)} at scores ${spot}.`;
  $("solid").setAttribute(
    "aria-label",
    `Surface of ${words} Seen from ${Math.round(state.yaw)} degrees around and ` +
      `${Math.round(state.pitch)} degrees up.`,
  );
  $("map").setAttribute("aria-label", `Contour map of ${words}`);
  for (const axis of ["x", "y"]) {
    $(axis).value = state[axis];
    $(`${axis}-out`).textContent = fixed(state[axis], 2);
  }
}
