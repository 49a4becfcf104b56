// What the page says in words and numbers: each mask's fate, regions of stuff, the pixel, PQ.

import { OTHER } from "../lib/merge.js";
import { categoryOf, css, inkOn } from "../lib/palette.js";
import { barsOf, chip, classTable, fill } from "../lib/score.js";
import { SIZE } from "../lib/scene.js";
import { shadesOf } from "./draw.js";
import { ALL_STEPS, LETTERS, masks, state } from "./state.js";

const $ = (id) => document.getElementById(id);
const whole = (value) => `${Math.round(100 * value)} %`;
const fixed = (value) => value.toFixed(2);

// The numbers beside the sliders.
export function writeKnobs({ order }) {
  for (const name of ["score", "overlap", "area", "sure", "margin", "steps"]) {
    $(name).value = state[name];
  }
  for (const name of ["score", "sure", "margin"]) $(`${name}-out`).textContent = fixed(state[name]);
  $("overlap-out").textContent = whole(state.overlap);
  $("area-out").textContent = state.area;
  $("steps-out").textContent = stepsText(order);
  $("rule").value = state.rule;
  for (const name of ["sure", "margin"]) $(name).disabled = state.rule !== "softer";
}

function stepsText(order) {
  if (state.steps === ALL_STEPS) return "all";
  const letters = order.slice(0, state.steps).map((index) => LETTERS[index]);
  return letters.length ? `${letters.join(", ")}; no stuff yet` : "none";
}

export function writeScores({ quality }, start) {
  const rows = ["pq", "sq", "rq"].map((name) => [name.toUpperCase(), quality.all[name], start.all[name]]);
  fill($("bars"), barsOf(rows));
  $("classes").className = "classes";
  fill($("classes"), classTable(quality.perClass));
}

// Fill the rows of the list of masks, which main.js made, in the order of their scores.
export function writeList({ order, merged, matches }) {
  const shades = shadesOf();
  order.forEach((index, rank) => {
    const letter = LETTERS[index];
    const row = $(`mask-${letter}`);
    row.style.order = rank;
    row.classList.toggle("chosen", letter === state.chosen);
    const button = $(`choose-${letter}`);
    button.setAttribute("aria-pressed", letter === state.chosen);
    Object.assign(button.style, { background: css(shades[letter]), color: inkOn(shades[letter]) });
    $(`class-${letter}`).value = masks[letter].label;
    $(`score-${letter}`).value = masks[letter].score;
    $(`score-${letter}-out`).textContent = fixed(masks[letter].score);
    const step = merged.steps.find((each) => each.letter === letter);
    fill($(`fate-${letter}`), step ? fateOf(step, matches) : "not tried yet");
    row.classList.toggle("dropped", step !== undefined && step.fate !== "kept");
  });
}

function fateOf(step, matches) {
  const { fate, area, left, lost, score } = step;
  const lostTo = [
    lost.better && `${lost.better} to better masks`,
    lost.stuff && `${lost.stuff} to stuff`,
  ].filter(Boolean);
  const loses = `loses ${whole((area - left) / area)} of its mask${lostTo.length ? ` (${lostTo.join(", ")})` : ""}`;
  switch (fate) {
    case "score":
      return `<b>Dropped:</b> its score ${fixed(score)} is below ${fixed(state.score)}.`;
    case "empty":
      return "<b>Dropped:</b> no pixel of it lies in the image.";
    case "hidden":
      return `<b>Dropped:</b> it ${loses}; the limit is ${whole(state.overlap)}.`;
    default:
      return `<b>Kept:</b> gets ${left} of ${area} pixels${lostTo.length ? `; ${lostTo.join(", ")}` : ""}. ${matchOf(step, matches)}`;
  }
}

function matchOf(step, { pairs, ignored }) {
  const pair = pairs.find(({ predicted }) => predicted.id === step.id);
  if (pair) return `True positive, IoU ${fixed(pair.iou)}.`;
  return ignored.some(({ id, score }) => id === step.id && score === step.score)
    ? "Ignored."
    : "False positive: no true segment of its class with an IoU above 0.50.";
}

export function writeRegions({ merged, hasStuff }) {
  const rows = merged.regions.map(({ label, area, kept }) => {
    const { color, name } = categoryOf({ label, isThing: false });
    const fate = kept ? "kept" : `too small (limit ${state.area}): void`;
    return `<li>${chip(color)} ${name}: ${area} free pixels, ${fate}</li>`;
  });
  const list = rows.join("") || "<li>no stuff is predicted on a free pixel</li>";
  fill($("regions"), hasStuff ? list : "<li>not yet: this is the last step</li>");
}

const BECAUSE = {
  got: "gets the pixel",
  score: "its score is below the least score, so it takes no part",
  empty: "it has no pixel",
  hidden: "the whole mask was dropped, because it loses too much",
  better: "too late: a mask with a higher score has the pixel",
  stuff: "the stuff here is more confident (softer rule)",
  taken: "an instance has the pixel, and stuff gets only free ones",
  small: "this region of stuff is too small",
  none: 'says "other", from which no segment is made',
};

export function writeWhy({ merged, claims }) {
  const [column, row] = [state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width)];
  const segment = merged.segments.find(({ id }) => id === merged.idMap[state.pixel]);
  const letters = new Map(merged.steps.map(({ id, letter }) => [id, letter]));
  const result = segment
    ? `${letters.get(segment.id) ?? ""} ${categoryOf(segment).name}`.trim()
    : "void: no segment";
  const shades = shadesOf();
  const rows = claims.map((claim) => {
    const { kind, label, fate } = claim;
    const letter = kind === "instance" ? merged.steps.find((s) => s.index === claim.index).letter : null;
    const name = letter
      ? `${chip(shades[letter])} ${letter} ${masks[letter].label}, score ${fixed(claim.score)}`
      : label === OTHER
        ? "the semantic branch"
        : `${chip(categoryOf({ label, isThing: false }).color)} stuff: ${categoryOf({ label, isThing: false }).name}`;
    return `<li class="${fate}">${name}: ${BECAUSE[fate]}.</li>`;
  });
  fill($("why"), `<p><b>Column ${column + 1}, row ${row + 1}: ${result}.</b></p>
<ol>${rows.join("") || "<li>no mask covers it</li>"}</ol>`);
}
