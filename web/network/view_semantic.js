// The semantic branch: labels of all pixels, the probability of one class, the softmax of a pixel.

import { softmax } from "../lib/boxes.js";
import { STUFF, css } from "../lib/palette.js";
import { choosable, cross, heat, spread } from "./draw.js";
import { labelSheet } from "./overview.js";
import { SIZE } from "./state.js";
import { number, percent } from "./words.js";

const NAMES = ["other", ...STUFF.map(({ name }) => name)];

export function drawLabels(root, { result, state, image, set }) {
  const num = SIZE.width * SIZE.height;
  const { data } = result.maps.logits;
  const logitsAt = (pixel) => NAMES.map((_, c) => data[c * num + pixel]);
  const logits = logitsAt(state.pixel);
  const probs = softmax(logits);
  const best = probs.indexOf(Math.max(...probs));
  const [x, y] = [state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width)];
  root.innerHTML = `<div class="split even"><div><h3>Best label of each pixel (dark: other)</h3><canvas role="img" aria-label="Labels"></canvas></div>
<div><h3>Probability of ${NAMES[state.class]}, from 0 (dark) to 1</h3><canvas role="img" aria-label="Probability of ${NAMES[state.class]}"></canvas></div></div>
<h3>Pixel (${x}, ${y}): ${NAMES[best]}</h3>
${NAMES.map((name, c) => `<div class="logit"><span>${name}</span><span class="track"><b style="width:${100 * probs[c]}%;background:${c ? css(STUFF[c - 1].color) : "#777"}"></b></span><output>${percent(probs[c])}</output></div>`).join("")}
<p class="sum">Logits ${logits.map((value, c) => `${NAMES[c]} ${number(value)}`).join(", ")}. The softmax of ${NAMES[best]} is exp(${number(logits[best])}) over the sum of all six exponentials: <b>${percent(probs[best])}</b>.</p>`;
  const [labels, chosen] = root.querySelectorAll("canvas");
  cross(spread(labels, labelSheet(result.labelMap, image)), x + 0.5, y + 0.5);
  const values = new Float32Array(num);
  for (let i = 0; i < num; i++) values[i] = softmax(logitsAt(i))[state.class];
  cross(spread(chosen, heat(values, { ...SIZE, low: 0, high: 1 })), x + 0.5, y + 0.5);
  for (const canvas of [labels, chosen]) {
    choosable(canvas, SIZE, { x, y }, (u, v) => set({ pixel: v * SIZE.width + u }));
  }
}
