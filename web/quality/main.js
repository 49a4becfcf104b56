// The page of panoptic quality: its controls, and what they change.

import { onDrag, onKeys } from "../lib/controls.js";
import { pixelAt } from "../lib/grid.js";
import { keepShown, openPage } from "../lib/page.js";
import { CATEGORIES } from "../lib/palette.js";
import { SIZE } from "../lib/scene.js";
import { drawPrediction, drawProof, drawTruth, fatesOf } from "./draw.js";
import { BOARD, boxesOf, change, judge, search } from "./proof.js";
import { scoresOf, writeControls, writePairs, writeProof, writeScores } from "./reading.js";
import * as view from "./state.js";
import { TOUR } from "./tour.js";

const $ = (id) => document.getElementById(id);
const { state } = view;
const TRIES = 20_000;
let shown = null; // what was computed last
let start = null; // the scores as the page starts
let isCutting = false; // show the line of Split
let drawn = null; // the cut that is being drawn, [x0, y0, x1, y1] in corners of pixels

function draw() {
  shown = view.compute();
  const fates = fatesOf(shown);
  drawPrediction($("prediction"), shown, fates, drawn ? { line: drawn } : isCutting ? view.chosenCut() : null);
  drawTruth($("truth"), shown, fates);
  writeScores(shown, start);
  writeControls(shown);
  writePairs(shown, fates);
  const boxes = boxesOf(state);
  drawProof($("proof"), { ...judge(boxes, state.overlapping === "yes"), limit: state.limit });
  writeProof(boxes);
}

const { redraw, changed } = keepShown(draw, view.addressOfState);
// An act that can be undone; acts of a kind that begins with "drag" are undone together.
const edited = (kind, act) =>
  changed((...values) => {
    view.keep(kind);
    act(...values);
  });

// The chosen segments --------------------------------------------------------------------------

for (const { name } of CATEGORIES) $("label").add(new Option(name));
$("chosen").addEventListener("change", changed(() => view.choose(Number($("chosen").value))));
$("true-chosen").addEventListener(
  "change",
  changed(() => (state.trueChosen = Number($("true-chosen").value))),
);
$("label").addEventListener(
  "change",
  edited("relabel", () => (state.segments[state.chosen].name = $("label").value)),
);
$("score").addEventListener(
  "input",
  edited("drag score", () => (state.segments[state.chosen].score = Number($("score").value))),
);
$("status").addEventListener(
  "change",
  edited("status", () => (state.statuses[state.trueChosen] = $("status").value)),
);
$("delete").addEventListener("click", edited("delete", view.remove));
$("undo").addEventListener("click", changed(view.undo));
$("start").addEventListener("click", changed(() => view.readState("")));

let drags = 0; // each drag is an act of its own
const move = (dx, dy) => edited(`drag ${drags}`, view.move)(dx, dy);
const step = edited("move", view.move);
const growBy = edited("grow", view.growBy);
for (const button of document.querySelectorAll("[data-move]")) {
  const [dx, dy] = button.dataset.move.split(" ").map(Number);
  button.addEventListener("click", () => step(dx, -dy));
}
for (const button of document.querySelectorAll("[data-grow]")) {
  button.addEventListener("click", () => growBy(Number(button.dataset.grow)));
}

// The pictures ---------------------------------------------------------------------------------

// What a drag does: act(dx, dy) for each pixel that the pointer moves, press(pixel) where it goes down.
function byPixels(canvas, size, press, act) {
  let last = null;
  return (event) => {
    const pixel = pixelAt(canvas, event, size);
    if (event.type === "pointerdown") press(pixel);
    else if (pixel.x !== last.x || pixel.y !== last.y) act(pixel.x - last.x, pixel.y - last.y);
    last = pixel;
  };
}
const onPixels = (canvas, ...rest) => onDrag(canvas, byPixels(canvas, ...rest));

// Cuts: chosen by angle and position, or drawn.
const isDrawing = () => $("draw").getAttribute("aria-pressed") === "true";
const setDrawing = (value) => {
  $("draw").setAttribute("aria-pressed", String(value));
  $("prediction").classList.toggle("cutting", value);
  $("cut-words").textContent = value ? "Drag a line across a segment." : "";
};
const cut = changed((line) => {
  isCutting = false;
  if (!view.canSplit(line)) {
    $("cut-words").textContent = "Nothing was cut: the line must leave pixels on both sides, and 16 segments are the most.";
    return;
  }
  view.keep("split");
  view.split(line);
});
$("split").addEventListener("click", () => {
  setDrawing(false);
  cut();
});
$("draw").addEventListener("click", () => setDrawing(!isDrawing()));
addEventListener("keydown", ({ key }) => key === "Escape" && isDrawing() && setDrawing(false));
for (const name of ["angle", "position"]) {
  $(name).addEventListener(
    "input",
    changed(() => {
      isCutting = true;
      state[name] = Number($(name).value);
    }),
  );
}
// The corner of a pixel that is closest to a pointer.
function cornerAt(event) {
  const box = $("prediction").getBoundingClientRect();
  const near = (part, num) => Math.min(num, Math.max(0, Math.round(part * num)));
  return [
    near((event.clientX - box.left) / box.width, SIZE.width),
    near((event.clientY - box.top) / box.height, SIZE.height),
  ];
}
function drawCut(event) {
  const end = cornerAt(event);
  drawn = event.type === "pointerdown" ? [...end, ...end] : [...drawn.slice(0, 2), ...end];
  redraw();
}
$("prediction").addEventListener("pointercancel", () => {
  drawn = null;
  redraw();
});
$("prediction").addEventListener("pointerup", () => {
  if (!drawn) return;
  const line = drawn;
  drawn = null;
  setDrawing(false);
  view.chooseUnder(line);
  cut(line);
});

const pick = changed(({ x, y }) => {
  isCutting = false;
  drags += 1;
  const id = shown.prediction.idMap[y * SIZE.width + x];
  if (id) view.choose(id - 1);
});
const drag = byPixels($("prediction"), SIZE, pick, (dx, dy) => move(dx, dy));
onDrag($("prediction"), (event) => (drawn || isDrawing() ? drawCut(event) : drag(event)));
onKeys($("prediction"), (dx, dy) => step(dx, -dy), changed(() => view.readState("")));
$("prediction").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") growBy(1);
  else if (event.key === "-") growBy(-1);
  else if (event.key === "Delete") edited("delete", view.remove)();
  else if (event.key === "PageDown") changed(() => view.choose(state.chosen + 1))();
  else if (event.key === "PageUp") changed(() => view.choose(state.chosen - 1))();
  else return;
  event.preventDefault();
});

const pickTrue = changed(({ x, y }) => view.chooseTrue(view.trueAt(y * SIZE.width + x)));
onPixels($("truth"), SIZE, pickTrue, () => {});
onKeys(
  $("truth"),
  (dx, dy) => changed(() => view.chooseTrue(state.trueChosen + dx - dy))(),
  changed(() => view.chooseTrue(0)),
);

// The proof ------------------------------------------------------------------------------------

const shift = changed((dx, dy) => change(state, { dx, dy }));
const pickBox = changed(({ x, y }) => {
  const inside = (box) => x >= box.x && y >= box.y && x < box.x + box.width && y < box.y + box.height;
  const [a, b] = boxesOf(state).map(inside);
  if (a !== b) state.mover = a ? "A" : "B";
});
onPixels($("proof"), BOARD, pickBox, shift);
onKeys($("proof"), (dx, dy) => shift(dx, -dy), changed(() => view.restartProof()));
for (const button of document.querySelectorAll("[data-shift]")) {
  const [dx, dy] = button.dataset.shift.split(" ").map(Number);
  button.addEventListener("click", () => shift(dx, -dy));
}
for (const button of document.querySelectorAll("[data-size]")) {
  const [dw, dh] = button.dataset.size.split(" ").map(Number);
  button.addEventListener("click", changed(() => change(state, { dw, dh })));
}
$("mover").addEventListener("change", changed(() => (state.mover = $("mover").value)));
$("limit").addEventListener("input", changed(() => (state.limit = Number($("limit").value))));
$("overlapping").addEventListener(
  "change",
  changed(() => (state.overlapping = $("overlapping").checked ? "yes" : "no")),
);
$("search").addEventListener(
  "click",
  changed(() => {
    const { boxes } = search(TRIES, state.overlapping === "yes");
    boxes.forEach(({ x, y, width, height }, i) => {
      const name = "ab"[i];
      Object.assign(state, { [`${name}x`]: x, [`${name}y`]: y, [`${name}w`]: width, [`${name}h`]: height });
    });
  }),
);

// The page -------------------------------------------------------------------------------------

function open() {
  view.readState(location.hash);
  redraw();
}

view.readState("");
start = scoresOf(view.compute());
globalThis.quality = { state, compute: view.compute, scoresOf };
openPage({ tour: TOUR, open, redraw, addressOf: view.addressOfState });
