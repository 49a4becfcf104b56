// One detection: where RoIAlign samples, its class scores, its final box; its mask, small and pasted.

import { softmax } from "../lib/boxes.js";
import { THINGS, css } from "../lib/palette.js";
import { gridRows } from "../lib/paste.js";
import { levelOf, samplesAlong, weightsAt } from "../lib/roi.js";
import { activity, box, cellFrame, choosable, cross, heat, photograph, spread } from "./draw.js";
import { SIZE } from "./state.js";
import { corners, number, percent } from "./words.js";

const NAMES = [...THINGS.map(({ name }) => name), "background"];

const chosenOf = ({ instances }, state) => Math.min(state.item, instances.length - 1);
const nothing = (root) => (root.innerHTML = "<p>Nothing is detected in this picture.</p>");

export function drawDetection(root, page) {
  const { result, state, image, about } = page;
  const at = chosenOf(result, state);
  if (at < 0) return nothing(root);
  const { candidates, proposals } = result.proposed;
  const candidate = result.detected.candidates[result.detected.detections[at]];
  const proposal = candidates[proposals[candidate.row]].box;
  const level = levelOf(proposal, about.settings.canonicalSize);
  const side = Math.sqrt((proposal[2] - proposal[0]) * (proposal[3] - proposal[1]));
  const start = candidate.row * NAMES.length;
  const probs = softmax(result.classLogits.slice(start, start + NAMES.length));
  const rivals = result.detected.steps.filter(({ by }) => by === result.detected.detections[at]).length;
  root.innerHTML = `<div class="split even"><div><h3>The proposal (dashed) and the final box</h3><canvas role="img" aria-label="The boxes in the street"></canvas>
<p class="sum">Proposal ${corners(proposal)}<br>deltas of ${NAMES[candidate.label]} ${candidate.delta.map(number).join(", ")}, divided by 10, 10, 5, 5<br>final box <b>${corners(candidate.box)}</b></p></div>
<div><h3>RoIAlign on p${level}: 7 × 7 bins, 2 × 2 samples each</h3><canvas role="img" aria-label="Samples on the level"></canvas>
<p class="sum">Level: floor(4 + log2(√area / ${about.settings.canonicalSize})) with √area = ${side.toFixed(1)} pixels, within 2 to 5: <b>p${level}</b></p>
<p class="sum">${sampleText(proposal, level, result.maps[`p${level}`].dims)}</p></div></div>
<h3>Class scores of this proposal</h3>
${NAMES.map((name, c) => `<div class="logit"><span>${name}</span><span class="track"><b style="width:${100 * probs[c]}%;background:${c < THINGS.length ? css(THINGS[c].color) : "#777"}"></b></span><output>${percent(probs[c])}</output></div>`).join("")}
<p class="sum">${result.detected.candidates.length} pairs of proposal and class score above ${about.settings.minScore}. NMS within each class keeps ${result.instances.length}; this one drops ${rivals} others that overlap it by an IoU above ${about.settings.boxNms}.</p>`;
  const [street, map] = root.querySelectorAll("canvas");
  const picture = spread(street, photograph(image, 0.2));
  box(picture, proposal, "#ffd21f", { dash: [5, 4] });
  box(picture, candidate.box, css(THINGS[candidate.label].color), { thick: 3 });
  drawSamples(map, result.maps[`p${level}`], proposal, 2 ** level);
}

function drawSamples(canvas, map, [x0, y0, x1, y1], stride) {
  const { values, width, height } = activity(map);
  const grid = spread(canvas, heat(values, { width, height, low: 0 }), { width, height });
  box(grid, [x0, y0, x1, y1].map((value) => value / stride), "#fff", { thick: 1.5 });
  const [across, down] = [samplesAlong(x0, x1, stride, 7, 2), samplesAlong(y0, y1, stride, 7, 2)];
  grid.pen.fillStyle = "#e3120b";
  for (const y of down.flat()) {
    for (const x of across.flat()) {
      grid.pen.beginPath(); // a cell's center lies half a cell from its corner
      grid.pen.arc((x + 0.5) * grid.unit, (y + 0.5) * grid.unit, 2, 0, 7);
      grid.pen.fill();
    }
  }
}

function sampleText([x0, y0, x1, y1], level, [, , height, width]) {
  const [x, y] = [samplesAlong(x0, x1, 2 ** level, 7, 2)[0][0], samplesAlong(y0, y1, 2 ** level, 7, 2)[0][0]];
  const parts = weightsAt(y, height).flatMap(([row, wy]) =>
    weightsAt(x, width).map(([column, wx]) => `${(wy * wx).toFixed(2)} × cell (row ${row}, column ${column})`),
  );
  return `The first sample lies at row ${y.toFixed(2)}, column ${x.toFixed(2)}: ${parts.join(" + ") || "outside of the map, 0"}.`;
}

export function drawMask(root, page) {
  const { result, state, image, set } = page;
  const at = chosenOf(result, state);
  if (at < 0) return nothing(root);
  const { probs, box: frame, window, label, name } = result.instances[at];
  const bins = Math.sqrt(probs.length);
  const [x, y] = [state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width)];
  const [column, row] = [gridRows(x, x + 1, frame[0], frame[2], bins)[0], gridRows(y, y + 1, frame[1], frame[3], bins)[0]];
  const inside = x >= window.left && x < window.left + window.width && y >= window.top && y < window.top + window.height;
  const value = inside ? window.values[(y - window.top) * window.width + x - window.left] : 0;
  const area = window.mask.reduce((sum, each) => sum + each, 0);
  root.innerHTML = `<div class="split even"><div><h3>28 × 28 probabilities of ${name}</h3><canvas role="img" aria-label="The small mask" style="max-width:24rem"></canvas></div>
<div><h3>Pasted into the street: ${area} pixels</h3><canvas role="img" aria-label="The pasted mask"></canvas></div></div>
<p class="sum">Pixel (${x}, ${y}): ${inside ? `its center falls on row ${row.toFixed(2)}, column ${column.toFixed(2)} of the grid; between the four bins around it the probability is <b>${percent(value)}</b>: ${value >= 0.5 ? '<span class="ok">in the mask</span>' : '<span class="no">not in the mask</span>'}` : "outside of the box, so it is not in the mask"}.</p>`;
  const [small, large] = root.querySelectorAll("canvas");
  const grid = spread(small, heat(probs, { width: bins, height: bins, low: 0, high: 1 }), { width: bins, height: bins });
  if (inside && column >= 0 && row >= 0) cellFrame(grid, Math.min(bins - 1, Math.round(column)), Math.min(bins - 1, Math.round(row)));
  const picture = spread(large, photograph(image, 0.35));
  picture.pen.fillStyle = css(THINGS[label].color);
  for (let v = 0; v < window.height; v++) {
    for (let u = 0; u < window.width; u++) {
      picture.pen.globalAlpha = window.mask[v * window.width + u] ? 0.85 : 0.25 * window.values[v * window.width + u];
      picture.pen.fillRect((window.left + u) * picture.unit, (window.top + v) * picture.unit, picture.unit, picture.unit);
    }
  }
  picture.pen.globalAlpha = 1;
  box(picture, frame, "#ffd21f");
  cross(picture, x + 0.5, y + 0.5);
  choosable(large, SIZE, { x, y }, (u, v) => set({ pixel: v * SIZE.width + u }));
}
