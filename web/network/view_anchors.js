// Anchors at a cell with their objectness and deltas; candidates and the steps of NMS.

import { decode, clip, sigmoid } from "../lib/boxes.js";
import { box, cellFrame, choosable, heat, photograph, spread } from "./draw.js";
import { SIZE } from "./state.js";
import { corners, number, percent } from "./words.js";

const COLORS = ["#ffd21f", "#4fc3ff", "#ff7ad9"];

export function drawAnchors(root, { result, state, image, about, set }) {
  const { level } = state;
  const [, , height, width] = result.maps[level].dims;
  const stride = 2 ** Number(level[1]);
  const [column, row] = [Math.min(width - 1, Math.floor(state.x / stride)), Math.min(height - 1, Math.floor(state.y / stride))];
  const [logits, deltas, anchors] = ["objectness", "deltas", "anchors"].map((part) => result.maps[`${part}_${level}`].data);
  const each = about.settings.anchorRatios.map((ratio, a) => {
    const at = (row * width + column) * 3 + a;
    const four = (flat) => [...flat.slice(4 * at, 4 * at + 4)];
    const anchor = four(anchors);
    const moved = clip(decode(four(deltas), anchor), SIZE);
    return { ratio, logit: logits[at], delta: four(deltas), anchor, moved };
  });
  root.innerHTML = `<div class="split even"><div><h3>Objectness on ${level}: the best of 3 anchors a cell</h3><canvas role="img" aria-label="Objectness"></canvas></div>
<div><h3>Its anchors (dashed), and moved by their deltas</h3><canvas role="img" aria-label="Anchors"></canvas></div></div>
<div class="wide" tabindex="0" role="region" aria-label="Anchors in numbers"><table class="rows"><thead><tr><th>anchor</th><th>logit</th><th>objectness</th><th>deltas dx, dy, dw, dh</th><th>anchor x0, y0, x1, y1</th><th>moved and clipped</th></tr></thead><tbody>
${each.map((a, i) => `<tr><td><span class="chip" style="background:${COLORS[i]}"></span> height/width ${a.ratio}</td><td>${number(a.logit)}</td><td><b>${percent(sigmoid(a.logit))}</b></td><td>${a.delta.map(number).join(", ")}</td><td>${corners(a.anchor)}</td><td>${corners(a.moved)}</td></tr>`).join("")}</tbody></table></div>
<p class="note">Decoding: the center moves by dx times the width and dy times the height; width and height are multiplied by exp(dw) and exp(dh).</p>`;
  const [map, picture] = root.querySelectorAll("canvas");
  const best = new Float32Array(width * height);
  for (let i = 0; i < best.length; i++) best[i] = sigmoid(Math.max(logits[3 * i], logits[3 * i + 1], logits[3 * i + 2]));
  const grid = spread(map, heat(best, { width, height, low: 0, high: 1 }), { width, height });
  cellFrame(grid, column, row);
  const canvas = spread(picture, photograph(image, 0.2));
  each.forEach((a, i) => box(canvas, a.anchor, COLORS[i], { dash: [4, 4], thick: 1.5 }));
  each.forEach((a, i) => box(canvas, a.moved, COLORS[i], { thick: 3 }));
  const choose = (x, y) => set({ x: Math.floor((x + 0.5) * stride), y: Math.floor((y + 0.5) * stride) });
  for (const target of [map, picture]) choosable(target, { width, height }, { x: column, y: row }, choose);
}

export function drawObjectness(root, { result, state, image }) {
  const { candidates, steps, proposals } = result.proposed;
  const level = Number(state.level[1]) - 2;
  const here = steps.filter(({ index }) => candidates[index].level === level);
  if (!here.length) {
    root.innerHTML = "<p>This level has no candidate.</p>";
    return;
  }
  const at = Math.min(state.item, here.length - 1);
  const now = here[at];
  const before = here.slice(0, at);
  const numberOf = (index) => here.findIndex((step) => step.index === index) + 1;
  const candidate = candidates[now.index];
  const taken = proposals.includes(now.index);
  const fate =
    now.by === null
      ? `<span class="ok">kept</span>: ${now.closest === null ? "no better one overlaps it" : `its largest IoU with a kept one is ${now.overlap.toFixed(2)}, not above 0.7`}${taken ? "" : ", but it is not among the best 100 of all levels"}`
      : `<span class="no">dropped</span>: its IoU with the kept candidate ${numberOf(now.by)} is ${now.overlap.toFixed(2)}, above 0.7`;
  root.innerHTML = `<div class="split"><canvas role="img" aria-label="Candidates of this level"></canvas><div>
<h3>Candidate ${at + 1} of ${here.length} on ${state.level}</h3>
<p class="sum">Objectness <b>${percent(sigmoid(candidate.logit))}</b> (logit ${number(candidate.logit)})</p>
<p class="sum">Anchor ${corners(candidate.anchor)}<br>deltas ${candidate.delta.map(number).join(", ")}<br>box ${corners(candidate.box)}</p>
<p>${fate}.</p>
<p class="sum">So far ${before.filter(({ by }) => by === null).length} kept, ${before.filter(({ by }) => by !== null).length} dropped.</p>
<p class="note">Green: kept so far. Grey, dashed: dropped. Yellow: this one. Blue: the one that drops it.</p></div></div>`;
  const canvas = spread(root.querySelector("canvas"), photograph(image, 0.25));
  for (const { index, by } of before.slice(-60)) {
    if (by !== null) box(canvas, candidates[index].box, "#aaa", { thick: 1, dash: [3, 4] });
  }
  for (const { index, by } of before) if (by === null) box(canvas, candidates[index].box, "#6fd08c", { thick: 1.2 });
  if (now.by !== null) box(canvas, candidates[now.by].box, "#4fc3ff", { thick: 3 });
  box(canvas, candidate.box, "#ffd21f", { thick: 3 });
}
