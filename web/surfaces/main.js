// The page of loss surfaces: its controls, and what they change.

import { onDrag, onKeys } from "../lib/controls.js";
import { evaluate } from "../lib/losses.js";
import { OPTIMIZERS } from "../lib/optimizers.js";
import { keepShown, openPage } from "../lib/page.js";
import { LOSSES, SIMPLEX } from "../lib/palette.js";
import { drawMap, scoresAt } from "./map.js";
import { writeReading } from "./reading.js";
import { drawSimplex, firstPixel, probsAt, setFirst } from "./simplex.js";
import { drawSolid } from "./solid.js";
import * as view from "./state.js";
import { TOUR } from "./tour.js";

const $ = (id) => document.getElementById(id);
const PAUSE = 50; // milliseconds between two steps that are played
const AT_ONCE = 100; // steps where the reader wants no animation
const still = matchMedia("(prefers-reduced-motion: reduce)");
let playing = null; // the timer

function draw() {
  const shown = view.losses();
  document.querySelector("main").classList.toggle("two", shown.length > 1);
  $("other").hidden = shown.length < 2;
  shown.forEach((loss, index) => {
    $(`title${index + 1}`).textContent = LOSSES[loss].title;
    drawSolid($(`solid${index + 1}`), index);
    drawMap($(`map${index + 1}`), index);
  });
  writeReading();
  $("truth").disabled = !view.hasTwo();
  drawSimplex($("triangle"));
}

const { redraw, changed } = keepShown(draw, view.addressOfState);

// Settings -------------------------------------------------------------------------------------

const CHOICES = ["pixels", "truth", "loss", "second", "reach", "optimizer", "rate", "simplex"];

function fill(id, titles) {
  for (const [value, title] of titles) $(id).add(new Option(title, value));
}

function showSettings() {
  for (const id of CHOICES) $(id).value = view.state[id];
  for (const id of ["x", "y"]) [$(id).min, $(id).max] = [-view.reach(), view.reach()];
}

const titles = Object.entries(LOSSES).map(([loss, { title }]) => [loss, title]);
fill("pixels", Object.entries(view.PIXELS));
fill("simplex", Object.entries(SIMPLEX).map(([loss, { title }]) => [loss, title]));
fill("loss", titles);
fill("second", titles);
fill("optimizer", Object.entries(OPTIMIZERS));
fill("rate", view.RATES.map((rate) => [rate, rate]));
for (const id of CHOICES) {
  $(id).addEventListener(
    "change",
    changed(() => {
      stop();
      view.state[id] = $(id).value;
      if (id === "truth" || id === "pixels") view.turnBack();
      view.move(view.state.x, view.state.y);
      showSettings();
    }),
  );
}

// The point and its descent --------------------------------------------------------------------

const moveTo = changed((x, y) => {
  stop();
  view.move(x, y);
});
const moveBack = changed(() => {
  stop();
  view.moveBack();
});
$("x").addEventListener("input", () => moveTo(Number($("x").value), view.pointOf(0)[1]));
$("y").addEventListener("input", () => moveTo(view.pointOf(0)[0], Number($("y").value)));

function play() {
  if (still.matches) {
    for (let i = 0; i < AT_ONCE && view.stepDown(); i++);
    redraw();
    return;
  }
  $("play").textContent = "Pause";
  $("reading").setAttribute("aria-busy", "true"); // not to be read aloud at each step
  playing = setInterval(() => {
    if (!view.stepDown()) stop();
    redraw();
  }, PAUSE);
}

function stop() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
  $("reading").removeAttribute("aria-busy");
}

$("play").addEventListener("click", () => (playing === null ? play() : stop()));
$("step").addEventListener("click", () => {
  stop();
  view.stepDown();
  redraw();
});
$("back").addEventListener("click", moveBack);

// The canvases ---------------------------------------------------------------------------------

const turn = changed(view.turn);
for (const index of [0, 1]) {
  const [solid, map] = [$(`solid${index + 1}`), $(`map${index + 1}`)];
  onDrag(solid, (_, dx, dy) => turn(dx * 0.5, dy * 0.4));
  onKeys(solid, (dx, dy) => turn(5 * dx, 5 * dy), changed(view.turnBack));
  onDrag(map, (event) => moveTo(...scoresAt(map, event)));
  onKeys(
    map,
    (dx, dy) => {
      const [x, y] = view.pointOf(index);
      moveTo(x + 0.1 * dx, y + 0.1 * dy);
    },
    moveBack,
  );
}
for (const button of document.querySelectorAll("[data-turn]")) {
  const angles = button.dataset.turn.split(" ").map(Number);
  button.addEventListener("click", () => turn(...angles));
}

// Three classes --------------------------------------------------------------------------------

const triangle = $("triangle");
const setProbs = changed(setFirst);
onDrag(triangle, (event) => setProbs(probsAt(triangle, event)));
onKeys(
  triangle,
  (dx, dy) => {
    const [a, b, c] = firstPixel();
    const within = (p) => Math.min(1, Math.max(0, p));
    const up = within(a + 0.05 * dy);
    const left = within((b + c > 0 ? b / (b + c) : 0.5) - 0.05 * dx); // B's part of the rest
    setProbs([up, (1 - up) * left, (1 - up) * (1 - left)]);
  },
  () => setProbs([0.4, 0.6, 0]),
);
$("sure").addEventListener(
  "input",
  changed(() => (view.state.sure = Number($("sure").value))),
);

// The page -------------------------------------------------------------------------------------

function open() {
  stop();
  view.readState(location.hash);
  showSettings();
  redraw();
}

globalThis.surfaces = { state: view.state, pointOf: view.pointOf, trailOf: view.trailOf, evaluate };
openPage({ tour: TOUR, open, redraw, addressOf: view.addressOfState });
