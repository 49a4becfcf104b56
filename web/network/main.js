// The page: reads the state from the address, lets the worker compute, paints what is shown.

import { keepAddress } from "../lib/address.js";
import { onKeys, oncePerFrame } from "../lib/controls.js";
import { installCopy } from "../lib/copy.js";
import { pixelAt } from "../lib/grid.js";
import { whoClaims } from "../lib/merge.js";
import { STUFF, THINGS, css, segmentColors } from "../lib/palette.js";
import { barsOf, chip } from "../lib/score.js";
import { followTheme } from "../lib/theme.js";
import { installTour } from "../lib/tour.js";
import { cross, photograph, put, segments, spread } from "./draw.js";
import { fetchStreet, finish, mapAfter, mergeAll, readPicture, scoreOf } from "./engine.js";
import { drawArrows, makeNodes, paintNodes } from "./overview.js";
import {
  BRUSHES, CUTS, MAX_DABS, NUM_STREETS, SIZE, addressOf, paintDabs, readPaint, readState, writePaint,
} from "./state.js";
import { TOUR } from "./tour.js";
import { VIEWS } from "./views.js";
import { percent, several } from "./words.js";

const $ = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });

let ownPicture = null;
let ownName = ""; // of its file
let state = openedState();
let about = null;
let fpn = null;
let clean = null; // the picture without paint
let truth = null;
let image = null; // with paint
let result = null;
let merged = null;
let score = null;
let first = null; // the score of the whole network, for the ticks
let brush = "road";
let running = false;
let stale = true; // the network's output belongs to another state
let shown = null; // the part whose controls stand in the page
let pointed = null; // the pixel under the pointer
let strokes = []; // the paint before each stroke, for undo
const saveAddress = keepAddress(() => addressOf(state));

// What a change of the state makes necessary: the network again, or the merge, or a picture.
const NETWORK = ["street", "paint", "topdown", "smooth", "cut"];

function set(changes) {
  const before = state;
  state = { ...state, ...changes };
  saveAddress();
  if (state.street !== before.street || state.own !== before.own) loadStreet();
  else if (NETWORK.some((name) => state[name] !== before[name])) compute();
  redraw();
}

async function loadStreet() {
  const { street: number, own } = state;
  const street = own === "yes" ? ownPicture : await fetchStreet(number, about.streets[number]);
  if (number !== state.street || own !== state.own) return;
  ({ image: clean, truth } = street);
  first = null;
  compute();
}

// Ask the worker for the present state; while it computes, later changes wait for the answer.
function compute() {
  stale = true;
  if (running || !clean || !fpn) return;
  running = true;
  stale = false;
  image = paintDabs(clean, readPaint(state.paint) ?? []);
  drawStreet();
  const keep = CUTS.slice(1).map((level) => (state.cut === level ? 0 : 1));
  const knobs = { topDown: Number(state.topdown === "on"), smooth: Number(state.smooth === "on"), keep };
  worker.postMessage({ kind: "run", id: 0, image, knobs });
}

worker.onmessage = ({ data }) => {
  if (data.kind === "loading") $("status").textContent = `Loading ${data.text} ...`;
  if (data.kind === "error") {
    running = false;
    $("status").textContent = `It cannot run here: ${data.text}`;
  }
  if (data.kind === "ready") {
    document.documentElement.dataset.ready = String(Math.round(data.ms));
    loadStreet();
  }
  if (data.kind !== "result") return;
  running = false;
  result = finish(data);
  for (const instance of result.instances) instance.name = THINGS[instance.label].name;
  result.serial = Number(document.documentElement.dataset.runs ?? 0) + 1;
  document.documentElement.dataset.runs = String(result.serial);
  $("status").textContent = `${several(result.instances.length, "detection")}, ${Math.round(data.ms)} ms in this browser`;
  if (stale) compute();
  paintNodes(result, state, image);
  shown = null;
  redraw();
};

const redraw = oncePerFrame(() => {
  readControls();
  if (!result) return;
  merged = mergeAll(result, state);
  score = truth ? scoreOf(truth, merged) : null;
  if (!first && isWhole() && score) first = score.quality;
  if ($("street").matches(":focus-visible")) drawStreet();
  drawMap();
  drawBars();
  for (const button of document.querySelectorAll(".node")) {
    button.setAttribute("aria-pressed", String(button.id === `node-${state.part}`));
  }
  drawArrows($("arrows"), $("network"), state);
  drawDetail();
});

const isWhole = () =>
  state.topdown === "on" && state.smooth === "on" && state.cut === "none" && state.branch === "both" && !state.paint;

// the pictures at both ends --------------------------------------------------------------------------

function drawStreet() {
  if (!image) return;
  const picture = spread($("street"), photograph(image));
  if (!$("street").matches(":focus-visible")) return;
  const [x, y] = [state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width)];
  cross(picture, x + 0.5, y + 0.5); // where Enter paints
}

function drawMap() {
  const picture = spread($("map"), segments(merged.idMap, merged.segments, image));
  const [x, y] = [state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width)];
  cross(picture, x + 0.5, y + 0.5);
  drawClaims(pointed ?? state.pixel);
}

const FATES = {
  got: "got it", score: "left out: score too low", hidden: "left out: mostly hidden", empty: "left out: no pixel",
  better: "a better instance has it", stuff: "stuff is surer", taken: "an instance has it", small: "its region is too small",
};

const nameOf = (pixel) => {
  const { label, isThing } = merged.segments.find(({ id }) => id === merged.idMap[pixel]);
  return (isThing ? THINGS[label] : STUFF[label - 1]).name;
};

function drawClaims(pixel) {
  const claims = whoClaims(pixel, merged.chosen, merged.labels, SIZE, merged);
  const colors = segmentColors(merged.segments);
  const color = colors.get(merged.idMap[pixel]);
  const lines = claims
    .filter(({ fate }) => fate !== "none")
    .map(({ kind, label, score: value, fate }) => {
      const name = kind === "instance" ? `${THINGS[label].name}, ${percent(value)}` : `stuff: ${STUFF[label - 1].name}`;
      return `<li>${fate === "got" ? `<b>${name}</b>` : name}: ${FATES[fate]}</li>`;
    });
  const [x, y] = [pixel % SIZE.width, Math.floor(pixel / SIZE.width)];
  const other = claims.at(-1).fate === "none" ? '<li>the semantic branch says "other": no stuff claims it</li>' : "";
  $("claims").innerHTML = `Pixel (${x}, ${y}): ${color ? `${chip(color)} ${nameOf(pixel)}` : "void, no segment"}<ol>${lines.join("")}${other}</ol>`;
}

function drawBars() {
  const quality = score?.quality;
  const value = (part, key) => quality?.[part]?.[key] ?? null;
  const start = (part, key) => first?.[part]?.[key] ?? null;
  $("bars").innerHTML = quality
    ? barsOf([
        ["PQ", value("all", "pq"), start("all", "pq")],
        ["things", value("things", "pq"), start("things", "pq")],
        ["stuff", value("stuff", "pq"), start("stuff", "pq")],
      ])
    : '<p class="note">Your own picture has no truth, so it has no score.</p>';
}

// the part that is open ------------------------------------------------------------------------------

function drawDetail() {
  const view = VIEWS[state.part] ?? VIEWS.merge;
  const page = { result, state, image, truth, merged, score, about, fpn, set, isPainted: state.paint !== "" };
  const key = JSON.stringify([state.part, result.serial, view.controls(result, state, merged)]);
  $("detail-title").textContent = view.title;
  $("detail-text").textContent = view.text;
  if (shown !== key) {
    shown = key;
    makeControls(view.controls(result, state, merged));
  }
  fillControls();
  const root = $("detail-view");
  const canvases = () => [...root.querySelectorAll("canvas")];
  const focused = canvases().indexOf(document.activeElement);
  view.draw(root, page);
  if (focused >= 0) canvases()[focused]?.focus({ preventScroll: true }); // it is drawn anew
}

function makeControls(list) {
  $("detail-controls").innerHTML = list
    .map(({ id, label, options, least, most }) =>
      options
        ? `<label>${label} <select data-name="${id}">${options.map((o) => (Array.isArray(o) ? `<option value="${o[0]}">${o[1]}</option>` : `<option>${o}</option>`)).join("")}</select></label>`
        : `<label class="slide">${label} <output></output><input type="range" data-name="${id}" min="${least}" max="${most}" step="1"></label>`,
    )
    .join("");
  for (const input of $("detail-controls").querySelectorAll("[data-name]")) {
    input.addEventListener("input", () => {
      const { name } = input.dataset;
      set({ [name]: name === "level" ? input.value : Number(input.value) });
    });
  }
}

function fillControls() {
  for (const input of $("detail-controls").querySelectorAll("[data-name]")) {
    const { name } = input.dataset;
    const most = input.type === "range" ? Number(input.max) : Infinity;
    input.value = input.tagName === "SELECT" && name === "item" ? Math.min(state.item, input.options.length - 1) : typeof state[name] === "number" ? Math.min(state[name], most) : state[name];
    const output = input.parentElement.querySelector("output");
    if (output) output.textContent = `${input.value} of ${input.max}`;
  }
}

function openPart(part) {
  const item = ["proposals", "detections", "masks"].includes(part) ? { item: 0 } : {};
  set({ part, ...item });
  requestAnimationFrame(() => {
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("detail").scrollIntoView({ behavior: isCalm ? "auto" : "smooth", block: "start" });
    $("detail-title").focus({ preventScroll: true });
  });
}

// controls -------------------------------------------------------------------------------------------

function readControls() {
  $("topdown").checked = state.topdown === "on";
  $("smooth").checked = state.smooth === "on";
  $("cut").value = state.cut;
  $("branch").value = state.branch;
  document.querySelector(".cuts").classList.toggle(
    "changed",
    state.topdown === "off" || state.smooth === "off" || state.cut !== "none" || state.branch !== "both",
  );
  for (const name of ["score", "overlap", "area", "rule", "margin"]) $(name).value = state[name];
  $("score-out").textContent = state.score.toFixed(2);
  $("overlap-out").textContent = percent(state.overlap, 0);
  $("area-out").textContent = state.area;
  $("margin-out").textContent = state.margin.toFixed(2);
  $("margin-knob").hidden = state.rule !== "softer";
  for (const button of document.querySelectorAll(".brushes button")) {
    button.setAttribute("aria-pressed", String(button.dataset.brush === brush));
  }
  for (const button of document.querySelectorAll("#gallery button")) {
    button.setAttribute("aria-pressed", String(state.own === "no" && Number(button.dataset.street) === state.street));
  }
  $("clear").disabled = state.paint === "";
  $("undo").disabled = state.paint === "" && !strokes.length;
  $("own").hidden = state.own === "no";
  $("own").textContent = `${ownName}: it stays on this computer, so the link leads to street ${state.street + 1} instead.`;
}

function install() {
  makeNodes($("network"), openPart);
  const on = (id, act) => $(id).addEventListener("input", act);
  for (const name of ["topdown", "smooth"]) on(name, () => set({ [name]: $(name).checked ? "on" : "off" }));
  for (const name of ["cut", "branch", "rule"]) on(name, () => set({ [name]: $(name).value }));
  for (const name of ["score", "overlap", "area", "margin"]) on(name, () => set({ [name]: Number($(name).value) }));
  $("whole").onclick = () => set({ topdown: "on", smooth: "on", cut: "none", branch: "both" });
  $("open-merge").onclick = () => openPart("merge");
  $("open-quality").onclick = () => openPart("quality");
  installBrush();
  installMap();
  $("file").addEventListener("change", openFile);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer?.files[0]) readOwn(event.dataTransfer.files[0]);
  });
  const repaint = () => {
    drawStreet();
    redraw();
  };
  new ResizeObserver(repaint).observe($("network")); // the window, or a frame that opens
  followTheme(repaint);
  installTour(TOUR, reopen);
  installCopy(
    () => addressOf(state),
    () => (state.own === "yes" ? `It cannot hold your own picture: it leads to street ${state.street + 1} instead.` : ""),
  );
  addEventListener("hashchange", reopen);
  readControls();
}

// The state in the address; one of a picture that is not here is shown with a street instead.
function openedState() {
  const opened = readState(location.hash);
  if (opened.own === "no" || ownPicture) return opened;
  $("copied").textContent = "This link was made with a picture of the sender's own, which no link can hold: you see a street instead.";
  return { ...opened, own: "no" };
}

function reopen() {
  const next = openedState();
  strokes = [];
  const changes = Object.fromEntries(Object.entries(next).filter(([name, value]) => state[name] !== value));
  set(changes);
}

function installBrush() {
  document.querySelector(".brushes").innerHTML = Object.entries(BRUSHES)
    .map(([key, { name, color }]) => `<button type="button" data-brush="${key}" style="background:${css(color)}" title="${name}" aria-label="${name}"></button>`)
    .join("");
  for (const button of document.querySelectorAll(".brushes button")) {
    button.onclick = () => {
      ({ brush } = button.dataset);
      readControls();
    };
  }
  const canvas = $("street");
  const dabs = () => readPaint(state.paint) ?? [];
  const dab = (x, y) => {
    const painted = dabs();
    if (painted.length === MAX_DABS) {
      $("status").textContent = "This is all the paint that a link can hold: press Undo or Clean.";
      return;
    }
    set({ paint: writePaint([...painted, { brush, x, y, radius: Number($("radius").value) }]) });
    image = clean && paintDabs(clean, dabs());
    drawStreet();
  };
  let before = null; // the last dab of this stroke
  const follow = (event) => {
    const { x, y } = pixelAt(canvas, event, SIZE);
    if (before && Math.hypot(before.x - x, before.y - y) < Number($("radius").value) / 2) return;
    before = { x, y };
    dab(x, y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    strokes.push(state.paint);
    before = null;
    follow(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) follow(event);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    strokes.push(state.paint);
    dab(state.pixel % SIZE.width, Math.floor(state.pixel / SIZE.width));
  });
  onKeys(canvas, movePixel, () => set({ pixel: 0 }));
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, drawStreet);
  // Paint that came with the address goes dab by dab.
  $("undo").onclick = () => set({ paint: strokes.pop() ?? writePaint(dabs().slice(0, -1)) });
  $("clear").onclick = () => {
    strokes.push(state.paint);
    set({ paint: "" });
  };
}

// Move the pixel that is looked at, by two pixels of the image.
function movePixel(dx, dy) {
  const within = (value, num) => Math.min(num - 1, Math.max(0, value));
  const x = within((state.pixel % SIZE.width) + 2 * dx, SIZE.width);
  const y = within(Math.floor(state.pixel / SIZE.width) - 2 * dy, SIZE.height);
  set({ pixel: y * SIZE.width + x });
}

function installMap() {
  const canvas = $("map");
  canvas.addEventListener("pointermove", (event) => {
    if (!merged) return;
    const { x, y } = pixelAt(canvas, event, SIZE);
    pointed = y * SIZE.width + x;
    drawClaims(pointed);
  });
  canvas.addEventListener("pointerleave", () => {
    pointed = null;
    if (merged) drawClaims(state.pixel);
  });
  canvas.addEventListener("click", (event) => {
    const { x, y } = pixelAt(canvas, event, SIZE);
    set({ pixel: y * SIZE.width + x });
  });
  onKeys(canvas, movePixel, () => set({ pixel: 0 }));
}

async function makeGallery() {
  $("gallery").innerHTML = Array.from({ length: NUM_STREETS }, (_, i) => `<button type="button" data-street="${i}" aria-label="Street ${i + 1}"><canvas aria-hidden="true"></canvas></button>`).join("");
  for (const button of $("gallery").children) {
    const number = Number(button.dataset.street);
    button.onclick = () => {
      strokes = [];
      set({ street: number, own: "no", paint: "", item: 0 });
    };
    const street = await fetchStreet(number, about.streets[number]);
    put(button.firstElementChild, photograph(street.image));
  }
}

function openFile() {
  if ($("file").files[0]) readOwn($("file").files[0]);
}

async function readOwn(file) {
  try {
    ownPicture = { image: await readPicture(file), truth: null };
  } catch {
    $("status").textContent = `${file.name}: found no picture that this browser reads, expected PNG or JPEG`;
    return;
  }
  ownName = file.name;
  strokes = [];
  if (state.own === "yes") loadStreet(); // another picture of one's own
  set({ own: "yes", paint: "", item: 0 });
}

async function start() {
  install();
  worker.postMessage({ kind: "start" });
  about = await (await fetch("model/about.json")).json();
  const numbers = new Float32Array(await (await fetch("model/fpn.bin")).arrayBuffer());
  fpn = Object.fromEntries(
    Object.entries(about.fpn).map(([name, { start: from, shape }]) => [
      name,
      numbers.subarray(from, from + shape.reduce((size, side) => size * side, 1)),
    ]),
  );
  if (document.documentElement.dataset.ready) loadStreet();
  const wait = () => (document.documentElement.dataset.runs ? makeGallery() : setTimeout(wait, 100));
  wait();
}

// For tests, and for the curious in the browser's console.
globalThis.pageState = () => ({ state, result, merged, score, fpn, about });

if (location.protocol === "file:") $("status").textContent = "This page needs a server. Try: pfpn pages network";
else start();
