// The page of loss surfaces: its controls, and what they change.

import { onDrag, onKeys, oncePerFrame } from "../lib/controls.js";
import { evaluate, valueAndGradient } from "../lib/losses.js";
import { LOSSES } from "../lib/palette.js";
import { drawMap, scoresAt } from "./map.js";
import { writeReading } from "./reading.js";
import { drawSolid } from "./solid.js";
import { labels, move, moveBack, state, turn, turnBack } from "./state.js";

const $ = (id) => document.getElementById(id);

function draw() {
  drawSolid($("solid"));
  drawMap($("map"));
  writeReading();
}

const redraw = oncePerFrame(draw);
const redrawn = (act) => (...values) => {
  act(...values);
  redraw();
};

onDrag($("solid"), redrawn((_, dx, dy) => turn(dx * 0.5, dy * 0.4)));
onDrag($("map"), redrawn((event) => move(...scoresAt($("map"), event))));
onKeys($("solid"), redrawn((dx, dy) => turn(5 * dx, 5 * dy)), redrawn(turnBack));
onKeys(
  $("map"),
  redrawn((dx, dy) => move(state.x + 0.1 * dx, state.y + 0.1 * dy)),
  redrawn(moveBack),
);
for (const button of document.querySelectorAll("[data-turn]")) {
  const angles = button.dataset.turn.split(" ").map(Number);
  button.addEventListener("click", redrawn(() => turn(...angles)));
}
$("step").addEventListener(
  "click",
  redrawn(() => {
    const { gradient } = valueAndGradient(state.loss, labels(), [state.x, state.y]);
    move(state.x - 0.5 * gradient[0], state.y - 0.5 * gradient[1]);
  }),
);
$("home").addEventListener("click", redrawn(moveBack));
for (const axis of ["x", "y"]) {
  $(axis).addEventListener("input", redrawn(() => (state[axis] = Number($(axis).value))));
}
for (const [loss, { title }] of Object.entries(LOSSES)) $("loss").add(new Option(title, loss));
for (const knob of ["truth", "loss"]) {
  $(knob).value = state[knob];
  $(knob).addEventListener(
    "change",
    redrawn(() => {
      state[knob] = $(knob).value;
      if (knob === "truth") turnBack();
    }),
  );
}
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
globalThis.surfaces = { state, evaluate }; // for the console, and for tests
draw();
