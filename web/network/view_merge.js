// Merging one instance at a time, and the score of the merged map against the truth.

import { STUFF, THINGS, segmentColors } from "../lib/palette.js";
import { chip, classTable } from "../lib/score.js";
import { mapAfter } from "./engine.js";
import { segments, spread } from "./draw.js";
import { number, percent, several } from "./words.js";

const FATES = {
  kept: (step) => `gets ${step.left} pixels: segment ${step.id}`,
  score: () => "left out: its score is below the least score",
  empty: () => "left out: its mask has no pixel",
  hidden: (step) => `left out: it lost ${percent((step.area - step.left) / step.area, 0)} of its mask`,
};

export function drawMerge(root, { state, merged, image }) {
  const last = merged.steps.length + 1;
  const step = Math.min(state.step, last);
  const colors = segmentColors(merged.segments);
  const rows = merged.steps.map((each, i) => {
    const color = each.id ? colors.get(each.id) : [128, 128, 128];
    return `<tr class="${i + 1 === step ? "now" : ""}"><td>${i + 1}</td><td>${chip(color)} ${THINGS[each.label].name}</td><td>${percent(each.score)}</td><td>${each.area}</td><td>${percent(each.area ? each.left / each.area : 0, 0)}</td><td>${i < step ? FATES[each.fate](each) : "waits"}</td></tr>`;
  });
  const stuff = merged.regions.map(({ label, area, kept, id }) => {
    const color = kept ? colors.get(id) : [128, 128, 128];
    return `<tr class="${step === last ? "now" : ""}"><td>${last}</td><td>${chip(color)} ${STUFF[label - 1].name}</td><td></td><td>${area}</td><td></td><td>${step < last ? "waits" : kept ? `segment ${id}` : `void: below ${merged.settings.minStuffArea} pixels`}</td></tr>`;
  });
  root.innerHTML = `<div class="split"><canvas role="img" aria-label="The map after step ${step}"></canvas>
<div class="wide" tabindex="0" role="region" aria-label="Steps of merging"><table class="rows steps"><thead><tr><th>step</th><th>class</th><th>score</th><th>mask, pixels</th><th>still free</th><th>what becomes of it</th></tr></thead><tbody>${rows.join("")}${stuff.join("")}</tbody></table></div></div>`;
  spread(root.querySelector("canvas"), segments(mapAfter(merged, step), merged.segments, image));
}

export function drawQuality(root, { truth, merged, score, image, isPainted }) {
  if (!truth) {
    root.innerHTML = "<p>Your own picture has no truth, so it has no score.</p>";
    return;
  }
  const { matches, quality } = score;
  const name = ({ label, isThing }) => (isThing ? THINGS[label] : STUFF[label - 1]).name;
  const color = ({ label, isThing }) => (isThing ? THINGS[label] : STUFF[label - 1]).color;
  const rows = [
    ...matches.pairs.map(({ truth: each, iou }) => `<tr><td>${chip(color(each))} ${name(each)}</td><td><span class="ok">match</span></td><td>IoU ${number(iou)}</td></tr>`),
    ...matches.falsePositives.map((each) => `<tr><td>${chip(color(each))} ${name(each)}</td><td><span class="no">false positive</span></td><td>no true segment of its class overlaps it by more than 0.5</td></tr>`),
    ...matches.falseNegatives.map((each) => `<tr><td>${chip(color(each))} ${name(each)}</td><td><span class="no">false negative</span></td><td>no predicted segment overlaps it by more than 0.5</td></tr>`),
  ];
  const { tp, fp, fn } = quality.perClass.reduce((sum, each) => ({ tp: sum.tp + each.tp, fp: sum.fp + each.fp, fn: sum.fn + each.fn }), { tp: 0, fp: 0, fn: 0 });
  root.innerHTML = `${isPainted ? '<p class="note">The truth is that of the street without paint.</p>' : ""}
<div class="split even"><div><h3>Truth</h3><canvas role="img" aria-label="The truth"></canvas></div><div><h3>Predicted segments</h3><canvas role="img" aria-label="The predicted segments"></canvas></div></div>
<p class="sum"><b>${several(tp, "match", "matches")}, ${several(fp, "false positive")}, ${several(fn, "false negative")}</b></p>
<div class="split even"><div class="wide" tabindex="0" role="region" aria-label="Scores of each class"><table class="classes">${classTable(quality.perClass)}</table></div>
<div class="wide" tabindex="0" role="region" aria-label="Every segment"><table class="rows"><tbody>${rows.join("")}</tbody></table></div></div>`;
  const [left, right] = root.querySelectorAll("canvas");
  spread(left, segments(truth.idMap, truth.segments, image));
  spread(right, segments(merged.idMap, merged.segments, image));
}
