// What the losses are at the point, in numbers and in words.

import { evaluate, presentClasses } from "../lib/losses.js";
import { LOSSES } from "../lib/palette.js";
import {
  PIXELS, arrivalOf, axisNames, hasLeft, hasTwo, labels, losses, pointOf, scoresOf, slopeOf, state,
  steps, trailOf,
} from "./state.js";

const WORDS = {
  jaccard: "Flat quadrants: the gradient is 0 wherever there is one, so nothing can be learned.",
  hinge: "Each pixel for itself, with the same weight.",
  cross_entropy: "Each pixel for itself, with the same weight. Smooth and convex.",
  soft_jaccard: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
  dice: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
  lovasz_hinge: "Errors times rises, summed. Convex in the scores; a kink where errors tie.",
  lovasz_softmax:
    "Errors times rises, summed, of the foreground alone. Convex in the errors, but not in the " +
    "scores.",
  lovasz_softmax_present:
    "What trains by default: the mean over the classes that the truth contains, ",
};
const MAX_ROWS = 8; // of the pixels in their order
const $ = (id) => document.getElementById(id);

const fixed = (value, digits = 3) =>
  (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits);
const pair = (values, digits) => `(${values.map((v) => fixed(v, digits)).join(", ")})`;

export function writeReading() {
  const shown = losses().map((loss, index) => ({
    loss,
    title: LOSSES[loss].title,
    read: readAt(loss, pointOf(index)),
    index,
  }));
  writeNumbers(shown);
  $("tables").innerHTML = shown.map(tableOf).join("");
  $("words").innerHTML = shown.map(({ loss, title }) => paragraphOf(loss, title)).join("");
  shown.forEach(describe);
  ["x", "y"].forEach((axis, i) => {
    $(axis).value = pointOf(0)[i];
    $(`${axis}-out`).textContent = fixed(pointOf(0)[i], 2);
    $(`${axis}-name`).textContent = axisNames()[i].replace("s", "S");
  });
}

function readAt(loss, point) {
  const whole = evaluate(loss, labels(), scoresOf(point));
  return { ...whole, gradient: slopeOf(whole.gradient).map((slope) => slope + 0) };
}

function writeNumbers(shown) {
  const rows = [
    ["loss", ({ read }) => fixed(read.value)],
    ["gradient", ({ read }) => pair(read.gradient)],
    ["slope", ({ read }) => fixed(Math.hypot(...read.gradient))],
    hasTwo()
      ? ["order of errors", ({ read }) => orderOf(read)]
      : ["wrong pixels", ({ read }) => read.wrong.filter(Boolean).length],
    ["intersection I", ({ read }) => read.intersection],
    ["union U", ({ read }) => read.union],
    ["Jaccard loss", ({ read }) => fixed(read.discrete)],
  ];
  if (steps() > 0) {
    rows.push(["scores", ({ index }) => pair(pointOf(index), 2)]);
    rows.push(["steps", ({ index }) => stepsOf(index)]);
    rows.push([hasTwo() ? "both right" : "all right", ({ index }) => rightOf(index)]);
  }
  const titles = shown.map(({ title }) => `<th scope="col">${title}</th>`).join("");
  const body = rows.map(([name, text]) => {
    const cells = shown.map((each) => `<td>${text(each)}</td>`).join("");
    return `<tr><th scope="row">${name}</th>${cells}</tr>`;
  });
  $("reading").innerHTML = (shown.length > 1 ? `<tr><td></td>${titles}</tr>` : "") + body.join("");
}

const stepsOf = (index) =>
  `${trailOf(index).length - 1}${hasLeft(index) ? ", at the edge" : ""}`;

const orderOf = ({ errors, order }) =>
  errors[0] === errors[1] ? "a tie" : `pixel ${order.map((i) => i + 1).join(", then ")}`;

function rightOf(index) {
  const arrival = arrivalOf(index);
  return arrival === null ? "not yet" : arrival ? `from step ${arrival}` : "from the start";
}

function tableOf({ loss, title, read }, _, shown) {
  const rows = read.steps.slice(0, MAX_ROWS).map((step) => {
    const { pixel, error, intersection, union, rise } = step;
    const values = [pixel + 1, fixed(error), intersection, union, fixed(step.loss), fixed(rise)];
    return `<tr>${values.map((value) => `<td>${value}</td>`).join("")}</tr>`;
  });
  const more = read.steps.length - rows.length;
  if (more > 0) rows.push(`<tr><td colspan="6">and ${more} pixels more</td></tr>`);
  const whose = `${shown.length > 1 ? `${title}, ` : ""}${read.of}`;
  const error = loss.startsWith("lovasz_softmax") ? "error" : "hinge error";
  return `<table><caption>${whose}: pixels join the wrong pixels, largest ${error} first</caption>
<thead><tr><th scope="col">pixel</th><th scope="col">error</th>
<th scope="col"><abbr title="intersection">I</abbr></th>
<th scope="col"><abbr title="union">U</abbr></th><th scope="col">Jaccard</th>
<th scope="col">rise</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function paragraphOf(loss, title) {
  const classes = presentClasses(labels()).map(({ name }) => name);
  const more = loss === "lovasz_softmax_present" ? `here ${classes.join(" and ")}.` : "";
  return `<p class="note"><b>${title}.</b> ${WORDS[loss]}${more}</p>`;
}

// The canvases in words.
function describe({ title, read, index }) {
  const spot = pair(pointOf(index), 2);
  const whose = hasTwo() ? `truth ${state.truth}` : PIXELS[state.pixels];
  const words = `${title}, ${whose}: ${fixed(read.value)} at scores ${spot}.`;
  const num = index + 1;
  $(`solid${num}`).setAttribute(
    "aria-label",
    `Surface of ${words} Seen from ${Math.round(state.yaw)} degrees around and ` +
      `${Math.round(state.pitch)} degrees up.`,
  );
  $(`map${num}`).setAttribute("aria-label", `Contour map of ${words}`);
}
