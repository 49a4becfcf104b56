// The page of merging: its controls, and what they change.

import { onDrag, onKeys } from "../lib/controls.js";
import { pixelAt } from "../lib/grid.js";
import { keepShown, openPage } from "../lib/page.js";
import { THINGS } from "../lib/palette.js";
import { SIZE } from "../lib/scene.js";
import { drawMasks, drawMerged, drawTruth } from "./draw.js";
import { writeKnobs, writeList, writeRegions, writeScores, writeWhy } from "./reading.js";
import * as view from "./state.js";
import { TOUR } from "./tour.js";

const $ = (id) => document.getElementById(id);
const { state, masks } = view;
let shown = null; // what was computed last
let start = null; // the quality as the page starts

function draw() {
  shown = view.compute();
  drawMasks($("masks"), shown);
  drawMerged($("merged"), shown);
  drawTruth($("truth"), shown);
  writeKnobs(shown);
  writeScores(shown, start);
  writeList(shown);
  writeRegions(shown);
  writeWhy(shown);
}

const { redraw, changed } = keepShown(draw, view.addressOfState);

// The list of masks ----------------------------------------------------------------------------

const options = THINGS.map(({ name }) => `<option>${name}</option>`).join("");
$("list").innerHTML = view.LETTERS.map(
  (letter) => `<div class="mask" id="mask-${letter}" role="group" aria-label="Mask ${letter}">
<button type="button" id="choose-${letter}" aria-label="Choose mask ${letter}">${letter}</button>
<select id="class-${letter}" aria-label="Class of ${letter}">${options}</select>
<input id="score-${letter}" type="range" min="0" max="1" step="0.01" aria-label="Score of ${letter}">
<output id="score-${letter}-out" for="score-${letter}"></output><p id="fate-${letter}"></p></div>`,
).join("");
for (const letter of view.LETTERS) {
  $(`choose-${letter}`).addEventListener("click", changed(() => (state.chosen = letter)));
  $(`class-${letter}`).addEventListener(
    "change",
    changed(() => {
      state.chosen = letter;
      masks[letter].label = $(`class-${letter}`).value;
    }),
  );
  $(`score-${letter}`).addEventListener(
    "input",
    changed(() => {
      state.chosen = letter;
      masks[letter].score = Number($(`score-${letter}`).value);
    }),
  );
}

// Rules and limits -----------------------------------------------------------------------------

$("steps").max = view.ALL_STEPS;
$("rule").addEventListener("change", changed(() => (state.rule = $("rule").value)));
for (const name of ["score", "overlap", "area", "sure", "margin", "steps"]) {
  $(name).addEventListener("input", changed(() => (state[name] = Number($(name).value))));
}
$("start").addEventListener("click", changed(() => view.readState("")));

// The pictures ---------------------------------------------------------------------------------

const move = changed(view.move);
const resize = changed(view.resize);
let last = null; // the pixel at which the pointer was

onDrag($("masks"), (event) => {
  const pixel = pixelAt($("masks"), event, SIZE);
  if (event.type === "pointerdown") {
    choose(pixel);
  } else if (last && (pixel.x !== last.x || pixel.y !== last.y)) {
    move(pixel.x - last.x, pixel.y - last.y);
  }
  last = pixel;
});

// Choose the mask under a pixel: the one that is chosen already, or the one with the highest score.
const choose = changed(({ x, y }) => {
  const covers = (index) => shown.instances[index].window.mask[y * SIZE.width + x];
  const under = shown.order.filter(covers).map((index) => view.LETTERS[index]);
  if (under.length && !under.includes(state.chosen)) [state.chosen] = under;
});

onKeys($("masks"), (dx, dy) => move(dx, -dy), changed(() => view.readState("")));
$("masks").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const letter = view.LETTERS[Number(event.key) - 1];
  if (letter) changed(() => (state.chosen = letter))();
  else if (event.key === "+" || event.key === "=") resize(1);
  else if (event.key === "-") resize(-1);
});
for (const button of document.querySelectorAll("[data-move]")) {
  const [dx, dy] = button.dataset.move.split(" ").map(Number);
  button.addEventListener("click", () => move(dx, -dy));
}
for (const button of document.querySelectorAll("[data-resize]")) {
  button.addEventListener("click", () => resize(Number(button.dataset.resize)));
}

const lookAt = changed(view.lookAt);
onDrag($("merged"), (event) => {
  const { x, y } = pixelAt($("merged"), event, SIZE);
  lookAt(x, y);
});
onKeys(
  $("merged"),
  (dx, dy) => lookAt((state.pixel % SIZE.width) + dx, Math.floor(state.pixel / SIZE.width) - dy),
  () => lookAt(SIZE.width / 2, SIZE.height / 2),
);

// The page -------------------------------------------------------------------------------------

function open() {
  view.readState(location.hash);
  redraw();
}

view.readState("");
start = view.compute().quality;
globalThis.merging = { state, masks, compute: view.compute };
openPage({ tour: TOUR, open, redraw, addressOf: view.addressOfState });
