// What the page says in numbers and words: scores, classes, each segment's match, the proof.

import { VOID } from "../lib/merge.js";
import { CATEGORIES, categoryOf } from "../lib/palette.js";
import { MATCH_IOU } from "../lib/quality.js";
import { barsOf, chip, classTable, fill, percent } from "../lib/score.js";
import { judge } from "./proof.js";
import { STATUSES, canSplit, canUndo, predictedName, state, trueKind, trueName } from "./state.js";

const $ = (id) => document.getElementById(id);
const fixed = (value) => value.toFixed(2);

export const scoresOf = ({ quality, semantic, ap }) => ({
  PQ: quality.all?.pq ?? null,
  SQ: quality.all?.sq ?? null,
  RQ: quality.all?.rq ?? null,
  mIoU: semantic.miou,
  AP: ap,
});

export function writeScores(shown, start) {
  const scores = scoresOf(shown);
  fill($("bars"), barsOf(Object.keys(scores).map((name) => [name, scores[name], start[name]])));
  $("classes").className = "classes";
  fill($("classes"), classTable(shown.quality.perClass));
  fill($("formula"), formulaOf(shown));
}

// The score of the chosen segment's class, with its numbers.
function formulaOf({ quality, matches }) {
  const chosen = state.segments[state.chosen];
  if (!chosen) return "";
  const index = CATEGORIES.findIndex(({ name }) => name === chosen.name);
  const { tp, fp, fn, pq, counts } = quality.perClass[index];
  if (!counts) return `${chosen.name}: no segment counts, so the class is left out of the means.`;
  const ious = matches.pairs
    .filter(({ truth }) => categoryOf(truth) === CATEGORIES[index])
    .map(({ iou }) => fixed(iou));
  const sum = ious.length ? ious.join(" + ") : "0";
  return `<b>${chosen.name}</b>: PQ = (${sum}) / (${tp} + ½·${fp} + ½·${fn}) = ${percent(pq)} %`;
}

// The controls of the chosen segments.
export function writeControls({ prediction }) {
  const has = state.segments.length > 0;
  const covered = new Set(prediction.segments.map(({ id }) => id));
  setOptions(
    $("chosen"),
    state.segments.map((_, i) => predictedName(i + 1) + (covered.has(i + 1) ? "" : " (covered)")),
  );
  setOptions($("true-chosen"), state.statuses.map((_, i) => trueName(i + 1)));
  $("chosen").value = state.chosen;
  $("true-chosen").value = state.trueChosen;
  $("label").value = state.segments[state.chosen]?.name ?? CATEGORIES[0].name;
  $("score").value = state.segments[state.chosen]?.score ?? 1;
  $("score-out").textContent = has ? fixed(state.segments[state.chosen].score) : "-";
  for (const control of document.querySelectorAll("[data-move], [data-grow], #delete, #label, #score")) {
    control.disabled = !has;
  }
  $("split").disabled = !canSplit();
  $("draw").disabled = !has;
  for (const name of ["angle", "position"]) $(name).value = state[name];
  $("angle-out").textContent = `${state.angle}°`;
  $("position-out").textContent = `${state.position} %`;
  $("undo").disabled = !canUndo();
  $("status").value = state.statuses[state.trueChosen];
  $("status").options[STATUSES.indexOf("crowd")].disabled =
    !CATEGORIES.find(({ name }) => name === trueKind(state.trueChosen + 1)).isThing;
}

function setOptions(select, names) {
  if (select.dataset.names === names.join()) return; // or an open list would close
  select.dataset.names = names.join();
  select.replaceChildren(...names.map((name, i) => new Option(name, i)));
}

// Each true segment with the prediction that overlaps it best, then what else is predicted.
export function writePairs(shown, fates) {
  const rows = [...shown.truth.segments.map((segment) => truthRow(segment, shown, fates))];
  const matched = new Set(shown.matches.pairs.map(({ predicted }) => predicted.id));
  for (const segment of shown.prediction.segments) {
    if (!matched.has(segment.id)) rows.push(predictionRow(segment, shown, fates));
  }
  $("pairs").className = "classes";
  fill($("pairs"), `<thead><tr><th scope="col">true</th><th scope="col">predicted</th>
<th scope="col">IoU<span class="tick">, limit at the tick</span></th><th scope="col">result</th></tr></thead><tbody>${rows.join("")}</tbody>`);
}

const cell = (segment, name) => `${chip(categoryOf(segment).color)} ${name}`;
const iouBar = (iou) =>
  iou === null
    ? "<td></td>"
    : `<td><div class="bar pair"><span class="track" aria-hidden="true"><b style="width:${100 * iou}%"></b>
<i style="left:${100 * MATCH_IOU}%"></i></span><output>${fixed(iou)}</output></div></td>`;

function truthRow(segment, { candidates }, { ofTruth }) {
  const { kind } = ofTruth.get(segment.id);
  const rivals = candidates.filter(({ truth }) => truth.id === segment.id).sort((a, b) => b.iou - a.iou);
  const best = rivals[0];
  const result = { matched: "true positive", wrong: "false negative", ignored: "crowd: ignored" }[kind];
  return `<tr class="${kind}"><th scope="row">${cell(segment, trueName(segment.id))}</th>
<td>${best ? predictedName(best.predicted.id) : segment.isCrowd ? "" : "none of its class"}</td>${iouBar(best ? best.iou : null)}<td>${result}</td></tr>`;
}

function predictionRow(segment, { overlaps, truth }, { ofPrediction }) {
  const { kind } = ofPrediction.get(segment.id);
  const area = overlaps.predAreas.get(segment.id);
  const crowds = truth.segments.filter(
    ({ isCrowd, label, isThing }) => isCrowd && label === segment.label && isThing === segment.isThing,
  );
  const places = [VOID, crowds.at(-1)?.id];
  const outside = overlaps.pairs
    .filter(([gt, predicted]) => predicted === segment.id && places.includes(gt))
    .reduce((sum, [, , pixels]) => sum + pixels, 0);
  const part = `${Math.round((100 * outside) / area)} % on void or crowd`;
  const result = kind === "ignored" ? `ignored: ${part}` : `false positive${outside ? `; ${part}` : ""}`;
  return `<tr class="${kind}"><th scope="row"></th><td>${cell(segment, predictedName(segment.id))}</td>
<td></td><td>${result}</td></tr>`;
}

// The proof in numbers, and what keeps it or breaks it.
export function writeProof(boxes) {
  const mayOverlap = state.overlapping === "yes";
  const { ious, covered, total } = judge(boxes, mayOverlap);
  $("limit").value = state.limit;
  $("limit-out").textContent = fixed(state.limit);
  $("overlapping").checked = mayOverlap;
  $("mover").value = state.mover;
  const both = ious.every((iou) => iou > state.limit);
  const bars = ["A", "B"].map((name, i) => {
    const limit = `<i style="left:${100 * state.limit}%"></i>`;
    return `<div class="bar"><span>IoU ${name}</span><span class="track" aria-hidden="true">
<b style="width:${100 * ious[i]}%"></b>${limit}</span><output>${fixed(ious[i])}</output></div>`;
  });
  const parts = ["A", "B"].map((name, i) => `${name} covers ${covered[i]}`).join(", ");
  fill($("proof-words"), `${bars.join("")}<p>T has ${total} pixels: ${parts}, together
${covered[0] + covered[1]}.</p><p class="${both ? "broken" : "holds"}">${both ? broken(mayOverlap) : holds(mayOverlap)}</p>`);
}

function holds(mayOverlap) {
  if (!mayOverlap && state.limit >= 0.5) {
    return (
      "<b>At most one matches, whatever you do.</b> The union with T has at least as many pixels as T. " +
      "So an IoU above 0.5 needs more than half of T. A and B share no pixel: both can't have more than half."
    );
  }
  return "<b>At most one matches here.</b> But the proof does not hold with these rules: try to break it.";
}

function broken(mayOverlap) {
  const causes = [
    mayOverlap && "A and B may cover the same pixels of T",
    state.limit < 0.5 && "less than half of T is enough",
  ].filter(Boolean);
  return `<b>Broken: both match,</b> because ${causes.join(", and ")}.`;
}
