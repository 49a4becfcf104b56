"""One page that turns: the loss surfaces of two pixels for any browser, without kernel or network.

`write_surfaces` writes a single HTML file that holds everything it needs: the numbers and names of
`plot.surface`, a style sheet for light and dark, and a small program that computes each loss, its
gradient, the order of the errors, intersection and union by itself, and draws with nothing but a
canvas. The tests hold its values against Python's in a real browser.
"""

import json
from pathlib import Path

import matplotlib

from pfpn.files import write_atomically
from pfpn.plot.surface import DOT_COLOR, LOSSES, SURFACE_COLORS, UNBOUNDED

NUM_COLORS = 32  # of the color map in the page


def write_surfaces(path: Path | str) -> Path:
    """Write the page; whole or not at all. `docs/surfaces.html` is made by this."""
    path = Path(path)
    write_atomically(path, surfaces_page().encode())
    return path


def surfaces_page() -> str:
    """Return the page as one string of HTML."""
    colors = matplotlib.colormaps[SURFACE_COLORS].resampled(NUM_COLORS)
    data = {
        "losses": {
            loss: {"title": title, "top": 4 if loss in UNBOUNDED else 1}
            for loss, (title, _, _) in LOSSES.items()
        },
        "colors": [
            [round(255 * part) for part in colors(place)[:3]] for place in range(NUM_COLORS)
        ],
        "dot": DOT_COLOR,
    }
    page = PAGE.replace("@STYLE@", STYLE.strip()).replace("@PROGRAM@", PROGRAM.strip())
    return page.replace("@DATA@", json.dumps(data, ensure_ascii=False))


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="Turn the loss surfaces of two pixels: Jaccard, hinge, Lovász.">
<title>Loss surfaces of two pixels</title>
<link rel="icon" href="data:,">
<style>
@STYLE@
</style>
</head>
<body>
<header>
<h1>Loss surfaces of two pixels</h1>
<p>Two pixels, one foreground class. Each pixel has a score: above 0 it is called foreground. Choose
the truth and a loss, turn the surface, move the red point, and read what the loss sees there.</p>
</header>
<noscript><p class="note">This page computes its surfaces in your browser and needs JavaScript for
that.</p></noscript>
<main>
<form class="controls" onsubmit="return false">
<label>Truth <select id="truth">
<option value="00">both background</option>
<option value="01" selected>background, foreground</option>
<option value="10">foreground, background</option>
<option value="11">both foreground</option>
</select></label>
<label>Loss <select id="loss"></select></label>
<label for="x">Score of pixel 1 <output id="x-out" for="x"></output></label>
<input id="x" type="range" min="-3" max="3" step="0.05" value="1.5">
<label for="y">Score of pixel 2 <output id="y-out" for="y"></output></label>
<input id="y" type="range" min="-3" max="3" step="0.05" value="-0.8">
</form>
<figure>
<canvas id="solid" tabindex="0" role="img" aria-describedby="solid-help"></canvas>
<figcaption id="solid-help">Drag to turn, or use the arrow keys; Home turns it back.</figcaption>
<div class="buttons" role="group" aria-label="Turn the surface">
<button type="button" data-turn="-15 0" aria-label="Turn left">&#8634;</button>
<button type="button" data-turn="15 0" aria-label="Turn right">&#8635;</button>
<button type="button" data-turn="0 10" aria-label="See more from above">&#8593;</button>
<button type="button" data-turn="0 -10" aria-label="See more from the side">&#8595;</button>
</div>
</figure>
<figure>
<canvas id="map" tabindex="0" role="img" aria-describedby="map-help"></canvas>
<figcaption id="map-help">The same from above. Drag the point, or move it by the arrow keys; the
arrow shows the steepest way down.</figcaption>
<div class="buttons">
<button type="button" id="step">One step downhill</button>
<button type="button" id="home">Point back</button>
</div>
</figure>
<section class="reading" aria-labelledby="reading-title">
<h2 id="reading-title">At the point</h2>
<dl id="reading" aria-live="polite"></dl>
<table>
<caption>How pixels join the wrong ones, largest error first</caption>
<thead><tr><th scope="col">pixel</th><th scope="col">error</th>
<th scope="col"><abbr title="intersection">I</abbr></th><th scope="col"><abbr
title="union">U</abbr></th><th scope="col">Jaccard</th><th scope="col">rise</th></tr></thead>
<tbody id="steps"></tbody>
</table>
<p id="words" class="note"></p>
</section>
</main>
<script type="application/json" id="data">@DATA@</script>
<script>
@PROGRAM@
</script>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #55565c; --page: #ffffff;
  --panel: #f4f5f7; --line: #c9cbd1; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --soft: #b3b5bd; --page: #16171b; --panel: #202228; --line: #474a53;
    --accent: #8cc2ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
header p { margin: 0 0 1rem; max-width: 46rem; color: var(--soft); }
main { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr); }
.controls, .reading { grid-column: 1 / -1; background: var(--panel); border-radius: .6rem;
  padding: .8rem 1rem; }
.controls { display: grid; gap: .4rem 1.2rem; align-items: center;
  grid-template-columns: repeat(2, auto minmax(6rem, 1fr)); }
.controls > label:nth-of-type(-n+2) { grid-column: span 2; display: flex; gap: .6rem;
  align-items: center; }
select { flex: 1; min-width: 0; } output { font-variant-numeric: tabular-nums; font-weight: 600; }
select, button, input { font: inherit; color: inherit; accent-color: var(--accent); }
select, button { background: var(--page); border: 1px solid var(--line); border-radius: .4rem;
  padding: .3rem .6rem; min-height: 2.4rem; }
button { min-width: 2.6rem; cursor: pointer; }
input[type=range] { width: 100%; min-height: 2.4rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
figure { margin: 0; min-width: 0; }
canvas { display: block; width: 100%; height: auto; background: var(--panel);
  border-radius: .6rem; touch-action: none; cursor: grab; }
figcaption, .note, caption { color: var(--soft); font-size: .9rem; }
.buttons { display: flex; gap: .5rem; flex-wrap: wrap; margin-top: .4rem; }
.reading { overflow-x: auto; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .5rem 1rem;
  margin: 0 0 .8rem; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-weight: 600;
  font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; } th, td { padding: .15rem .8rem .15rem 0; text-align: right;
  border-bottom: 1px solid var(--line); } th { font-weight: 600; font-size: .85rem; }
@media (max-width: 46rem) {
  main { grid-template-columns: minmax(0, 1fr); }
  .controls { grid-template-columns: auto minmax(6rem, 1fr); }
}
"""

PROGRAM = r"""
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const REACH = 3, NEAR = 1e-9;

// The losses -----------------------------------------------------------------------------------
const sigmoid = (v) => (v >= 0 ? 1 / (1 + Math.exp(-v)) : Math.exp(v) / (1 + Math.exp(v)));
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));

// |wrong| / |truth or wrong|, the Jaccard loss of a set of wrong pixels.
function jaccard(wrong, truth) {
  const union = truth.filter((t, i) => t || wrong[i]).length;
  return union ? wrong.filter(Boolean).length / union : 0;
}

// Algorithm 1: the pixels join the wrong ones from the largest error on.
function join(errors, truth) {
  const order = [0, 1].sort((i, j) => errors[j] - errors[i] || i - j);
  const wrong = [false, false], weights = [0, 0], steps = [];
  let last = 0;
  for (const i of order) {
    wrong[i] = true;
    const now = jaccard(wrong, truth);
    weights[i] = now - last;
    steps.push({ pixel: i, error: errors[i], rise: weights[i], loss: now, ...count(wrong, truth) });
    last = now;
  }
  return { order, weights, steps, value: weights[0] * errors[0] + weights[1] * errors[1] };
}

function count(wrong, truth) {
  return { intersection: truth.filter((t, i) => t && !wrong[i]).length,
    union: truth.filter((t, i) => t || wrong[i]).length };
}

// Value, gradient, errors, order, intersection and union of a loss at two scores.
function evaluate(loss, truthText, d) {
  const truth = [...truthText].map(Number);
  const sign = truth.map((t) => 2 * t - 1);
  const agree = d.map((v, i) => sign[i] * v);
  const hinge = agree.map((a) => Math.max(0, 1 - a));
  const soft = agree.map((a) => sigmoid(-a));
  const wrong = agree.map((a) => a <= 0);
  const errors = loss === "lovasz_softmax" ? soft : hinge;
  const joined = join(errors, truth);
  let value, gradient;
  if (loss === "jaccard") {
    value = jaccard(wrong, truth);
    gradient = [0, 0];
  } else if (loss === "hinge") {
    value = (hinge[0] + hinge[1]) / 2;
    gradient = sign.map((s, i) => (hinge[i] > 0 ? -s / 2 : 0));
  } else if (loss === "cross_entropy") {
    value = (softplus(-agree[0]) + softplus(-agree[1])) / 2;
    gradient = sign.map((s, i) => -s * soft[i] / 2);
  } else if (loss === "lovasz_hinge") {
    value = joined.value;
    gradient = sign.map((s, i) => (hinge[i] > 0 ? -s * joined.weights[i] : 0));
  } else if (loss === "lovasz_softmax") {
    value = joined.value;
    gradient = sign.map((s, i) => -s * joined.weights[i] * soft[i] * (1 - soft[i]));
  } else {
    const probs = d.map(sigmoid);
    const overlap = probs[0] * truth[0] + probs[1] * truth[1];
    const sum = probs[0] + probs[1] + truth[0] + truth[1];
    const slope = probs.map((p) => p * (1 - p));
    if (loss === "dice") {
      value = 1 - 2 * overlap / sum;
      gradient = truth.map((t, i) => -2 * (t * sum - overlap) / sum ** 2 * slope[i]);
    } else {
      const union = sum - overlap;
      value = 1 - overlap / union;
      gradient = truth.map((t, i) => -(t * union - overlap * (1 - t)) / union ** 2 * slope[i]);
    }
  }
  gradient = gradient.map((g) => g + 0); // no -0
  return { value, gradient, errors, order: joined.order, steps: joined.steps, wrong,
    ...count(wrong, truth), discrete: jaccard(wrong, truth) };
}

// State ----------------------------------------------------------------------------------------
const START = { yaw: 35, pitch: 30, x: 1.5, y: -0.8 };
// Seen from the corner where both pixels are right, or slopes hide behind plateaus.
const TURNED = { "00": 0, "01": 90, "11": 180, "10": 270 };
const state = { ...START, yaw: START.yaw + TURNED["01"], loss: "lovasz_hinge", truth: "01" };

function surface(loss, truth, steps) {
  let axis = Array.from({ length: steps }, (_, i) => -REACH + (2 * REACH * i) / (steps - 1));
  if (loss === "jaccard") { // its steps stand upright
    axis = [...axis.filter((v) => Math.abs(v) > 1e-6), -NEAR, NEAR].sort((a, b) => a - b);
  }
  return { axis, value: axis.map((y) => axis.map((x) => evaluate(loss, truth, [x, y]).value)) };
}

function color(share) {
  const at = Math.min(1, Math.max(0, share)) * (DATA.colors.length - 1);
  const low = DATA.colors[Math.floor(at)], high = DATA.colors[Math.ceil(at)], part = at % 1;
  return low.map((v, i) => Math.round(v + (high[i] - v) * part));
}
const css = (rgb) => `rgb(${rgb.join(",")})`;
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function prepare(canvas, ratio) {
  const width = canvas.clientWidth || 300, height = Math.round(width * ratio);
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.lineJoin = "round";
  return { pen, width, height };
}

// The solid picture: quads painted from the farthest to the nearest ----------------------------
function camera(width, height) {
  const yaw = (state.yaw * Math.PI) / 180, pitch = (state.pitch * Math.PI) / 180;
  const scale = Math.min(width / 3.6, height / 2.95);
  return (x, y, z) => { // x, y in -1..1, z in 0..1
    const u = x * Math.cos(yaw) - y * Math.sin(yaw), v = x * Math.sin(yaw) + y * Math.cos(yaw);
    const w = (z - 0.5) * 1.25;
    return { x: width / 2 + u * scale,
      y: height / 2 - (v * Math.sin(pitch) + w * Math.cos(pitch)) * scale,
      depth: v * Math.cos(pitch) - w * Math.sin(pitch) };
  };
}

function drawSolid() {
  const { pen, width, height } = prepare($("solid"), 0.76);
  const top = DATA.losses[state.loss].top, at = camera(width, height);
  const { axis, value } = surface(state.loss, state.truth, 31);
  const place = (x, y, v) => at(x / REACH, y / REACH, Math.min(v, top) / top);
  const ink = themed("--soft");
  const line = (from, to, style, thick) => {
    pen.strokeStyle = style; pen.lineWidth = thick;
    pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x, to.y); pen.stroke();
  };
  // Floor, and the two walls behind.
  const corner = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  const far = corner.reduce((a, b) => (at(...b, 0).depth > at(...a, 0).depth ? b : a));
  for (let i = 0; i < 4; i++) line(at(...corner[i], 0), at(...corner[(i + 1) % 4], 0), ink, 1);
  for (const c of [[far[0], far[1]], [-far[0], far[1]], [far[0], -far[1]]]) {
    line(at(...c, 0), at(...c, 1), ink, 1);
  }
  line(at(far[0], far[1], 1), at(-far[0], far[1], 1), ink, 1);
  line(at(far[0], far[1], 1), at(far[0], -far[1], 1), ink, 1);

  const quads = [];
  for (let i = 0; i + 1 < axis.length; i++) {
    for (let j = 0; j + 1 < axis.length; j++) {
      const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]]
        .map(([r, c]) => place(axis[c], axis[r], value[r][c]));
      const mean = (value[i][j] + value[i + 1][j + 1] + value[i][j + 1] + value[i + 1][j]) / 4;
      quads.push({ corners, mean, depth: corners.reduce((s, c) => s + c.depth, 0) });
    }
  }
  quads.sort((a, b) => b.depth - a.depth);
  for (const quad of quads) {
    pen.beginPath();
    quad.corners.forEach((c, i) => (i ? pen.lineTo(c.x, c.y) : pen.moveTo(c.x, c.y)));
    pen.closePath();
    pen.fillStyle = css(color(quad.mean / top));
    pen.fill();
    pen.strokeStyle = "rgba(255,255,255,.28)"; pen.lineWidth = 0.6; pen.stroke();
  }

  // The point, its stem, and where downhill leads.
  const read = evaluate(state.loss, state.truth, [state.x, state.y]);
  const foot = at(state.x / REACH, state.y / REACH, 0), dot = place(state.x, state.y, read.value);
  pen.setLineDash([4, 4]); line(foot, dot, themed("--ink"), 1.2); pen.setLineDash([]);
  const length = Math.hypot(...read.gradient);
  if (length > 1e-6) {
    let previous = dot;
    for (let i = 1; i <= 12; i++) { // an arrow that lies in the surface
      const go = (i / 12) * 0.9 / length;
      const end = [state.x - go * read.gradient[0], state.y - go * read.gradient[1]];
      if (Math.max(Math.abs(end[0]), Math.abs(end[1])) > REACH) break;
      const next = place(...end, evaluate(state.loss, state.truth, end).value);
      line(previous, next, "white", 5);
      line(previous, next, DATA.dot, 2.6);
      previous = next;
    }
  }
  disc(pen, dot);
  pen.fillStyle = themed("--ink"); pen.font = "13px system-ui, sans-serif";
  pen.textAlign = "center"; pen.textBaseline = "middle";
  const label = (text, spot) => pen.fillText(text, spot.x, spot.y);
  const near = [-far[0], -far[1]];
  for (const v of [-3, 0, 3]) {
    label(String(v), at(v / REACH, near[1] * 1.13, 0));
    label(String(v), at(near[0] * 1.13, v / REACH, 0));
  }
  const what = width < 450 ? "pixel" : "score of pixel";
  label(`${what} 1`, at(0, near[1] * 1.38, 0));
  label(`${what} 2`, at(near[0] * 1.38, 0, 0));
  const side = at(-far[0], far[1], 0).x < at(far[0], -far[1], 0).x ? [-far[0], far[1]]
    : [far[0], -far[1]];
  for (const v of [0.5, 1]) {
    const spot = at(side[0] * 1.04, side[1] * 1.04, v);
    pen.textAlign = "right";
    label(String(v * top), { x: spot.x - 6, y: spot.y });
  }
}

function disc(pen, spot) {
  pen.beginPath(); pen.arc(spot.x, spot.y, 7, 0, 2 * Math.PI);
  pen.fillStyle = DATA.dot; pen.fill();
  pen.strokeStyle = "white"; pen.lineWidth = 2; pen.stroke();
}

// The map: colors, level lines, the point --------------------------------------------------------
const PAD = { left: 44, right: 14, top: 14, bottom: 44 };

function drawMap() {
  const { pen, width, height } = prepare($("map"), 0.95);
  const top = DATA.losses[state.loss].top, side = Math.min(width - PAD.left - PAD.right,
    height - PAD.top - PAD.bottom);
  const x = (v) => PAD.left + ((v + REACH) / (2 * REACH)) * side;
  const y = (v) => PAD.top + ((REACH - v) / (2 * REACH)) * side;
  const { axis, value } = surface(state.loss, state.truth, 61);
  for (let i = 0; i + 1 < axis.length; i++) {
    for (let j = 0; j + 1 < axis.length; j++) {
      const mean = (value[i][j] + value[i + 1][j + 1] + value[i][j + 1] + value[i + 1][j]) / 4;
      pen.fillStyle = css(color(mean / top));
      pen.fillRect(x(axis[j]), y(axis[i + 1]), x(axis[j + 1]) - x(axis[j]) + 0.7,
        y(axis[i]) - y(axis[i + 1]) + 0.7);
    }
  }
  pen.strokeStyle = "rgba(255,255,255,.75)"; pen.lineWidth = 1;
  if (state.loss !== "jaccard") {
    for (let level = 1; level < 10; level++) contour(pen, axis, value, (level * top) / 10, x, y);
  }
  const ink = themed("--ink");
  pen.fillStyle = ink; pen.font = "13px system-ui, sans-serif";
  pen.textAlign = "center"; pen.textBaseline = "top";
  for (const v of [-3, 0, 3]) pen.fillText(String(v), x(v), y(-REACH) + 5);
  pen.fillText("score of pixel 1", x(0), y(-REACH) + 22);
  pen.textAlign = "right"; pen.textBaseline = "middle";
  for (const v of [-3, 0, 3]) pen.fillText(String(v), x(-REACH) - 6, y(v));
  pen.save(); pen.translate(12, y(0)); pen.rotate(-Math.PI / 2); pen.textAlign = "center";
  pen.fillText("score of pixel 2", 0, 0); pen.restore();

  const read = evaluate(state.loss, state.truth, [state.x, state.y]);
  const length = Math.hypot(...read.gradient);
  const from = { x: x(state.x), y: y(state.y) };
  if (length > 1e-6) {
    const reach = (0.5 + 0.7 * Math.min(1, length)) / length;
    arrow(pen, from, { x: x(state.x - reach * read.gradient[0]),
      y: y(state.y - reach * read.gradient[1]) });
  }
  disc(pen, from);
}

function arrow(pen, from, to) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  for (const [style, thick] of [["white", 6], [DATA.dot, 3]]) {
    pen.strokeStyle = style; pen.lineWidth = thick; pen.lineCap = "round";
    pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x, to.y);
    for (const way of [2.6, -2.6]) {
      pen.moveTo(to.x, to.y);
      pen.lineTo(to.x + 10 * Math.cos(angle + way), to.y + 10 * Math.sin(angle + way));
    }
    pen.stroke();
  }
}

// Marching squares: the line where a grid crosses a level.
function contour(pen, axis, value, level, x, y) {
  pen.beginPath();
  for (let i = 0; i + 1 < axis.length; i++) {
    for (let j = 0; j + 1 < axis.length; j++) {
      const ring = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      const cuts = [];
      for (let k = 0; k < 4; k++) {
        const [r0, c0] = ring[k], [r1, c1] = ring[(k + 1) % 4];
        const a = value[r0][c0] - level, b = value[r1][c1] - level;
        if ((a < 0) !== (b < 0)) {
          const t = a / (a - b);
          cuts.push([x(axis[c0] + t * (axis[c1] - axis[c0])),
            y(axis[r0] + t * (axis[r1] - axis[r0]))]);
        }
      }
      for (let k = 0; k + 1 < cuts.length; k += 2) {
        pen.moveTo(...cuts[k]); pen.lineTo(...cuts[k + 1]);
      }
    }
  }
  pen.stroke();
}

// Words ----------------------------------------------------------------------------------------
const fixed = (v, digits = 3) => (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits);

function write() {
  const read = evaluate(state.loss, state.truth, [state.x, state.y]);
  const title = DATA.losses[state.loss].title;
  const order = `pixel ${read.order.map((i) => i + 1).join(", then ")}`;
  const rows = [
    ["loss", fixed(read.value)],
    ["gradient", `(${read.gradient.map((g) => fixed(g)).join(", ")})`],
    ["order of errors", read.errors[0] === read.errors[1] ? "a tie" : order],
    ["intersection I", String(read.intersection)],
    ["union U", String(read.union)],
    ["Jaccard loss", fixed(read.discrete)],
  ];
  $("reading").innerHTML = rows.map(([k, v]) => `<div><dt>${k}</dt><dd>${v}</dd></div>`).join("");
  $("steps").innerHTML = read.steps.map((s) => `<tr><td>${s.pixel + 1}</td>` +
    `<td>${fixed(s.error)}</td><td>${s.intersection}</td><td>${s.union}</td>` +
    `<td>${fixed(s.loss)}</td><td>${fixed(s.rise)}</td></tr>`).join("");
  $("words").textContent = {
    jaccard: "Flat quadrants: the gradient is 0 wherever there is one, so nothing can be learned.",
    hinge: "Each pixel for itself, with the same weight.",
    cross_entropy: "Each pixel for itself, with the same weight. Smooth and convex.",
    soft_jaccard: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
    dice: "Sums of probabilities in place of sets. Not convex; flat without foreground.",
    lovasz_hinge: "Errors times rises, summed. Convex in the scores; a kink where errors tie.",
    lovasz_softmax: "Errors times rises, summed. Convex in the errors, but not in the scores.",
  }[state.loss];
  const spot = `(${fixed(state.x, 2)}, ${fixed(state.y, 2)})`;
  const told = `${title}, truth ${state.truth}: ${fixed(read.value)} at scores ${spot}.`;
  $("solid").setAttribute("aria-label", `Surface of ${told} Seen from ${Math.round(state.yaw)} ` +
    `degrees around and ${Math.round(state.pitch)} degrees up.`);
  $("map").setAttribute("aria-label", `Contour map of ${told}`);
  $("x-out").textContent = fixed(state.x, 2);
  $("y-out").textContent = fixed(state.y, 2);
  $("x").value = state.x;
  $("y").value = state.y;
}

let asked = false;
function redraw() { // at most once a frame
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; render(); });
}
function render() { drawSolid(); drawMap(); write(); }

// Hands ----------------------------------------------------------------------------------------
function turn(yaw, pitch) {
  state.yaw = (((state.yaw + yaw) % 360) + 360) % 360;
  state.pitch = Math.min(85, Math.max(5, state.pitch + pitch));
  redraw();
}
function move(x, y) {
  const within = (v) => Math.min(REACH, Math.max(-REACH, Math.round(v * 1000) / 1000));
  state.x = within(x);
  state.y = within(y);
  redraw();
}
function drag(canvas, act) {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    act(event, 0, 0);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) act(event, event.movementX, event.movementY);
  });
}
drag($("solid"), (_, dx, dy) => turn(dx * 0.5, dy * 0.4));
drag($("map"), (event) => {
  const box = $("map").getBoundingClientRect();
  const side = Math.min(box.width - PAD.left - PAD.right, box.height - PAD.top - PAD.bottom);
  move(((event.clientX - box.left - PAD.left) / side) * 2 * REACH - REACH,
    REACH - ((event.clientY - box.top - PAD.top) / side) * 2 * REACH);
});
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
function keys(canvas, act, home) {
  canvas.addEventListener("keydown", (event) => {
    if (event.key in KEYS) act(...KEYS[event.key]);
    else if (event.key === "Home") home();
    else return;
    event.preventDefault();
  });
}
const turnBack = () => {
  state.yaw = START.yaw + TURNED[state.truth];
  state.pitch = START.pitch;
  redraw();
};
keys($("solid"), (x, y) => turn(5 * x, 5 * y), turnBack);
keys($("map"), (x, y) => move(state.x + 0.1 * x, state.y + 0.1 * y), () => move(START.x, START.y));
for (const button of document.querySelectorAll("[data-turn]")) {
  button.addEventListener("click", () => turn(...button.dataset.turn.split(" ").map(Number)));
}
$("step").addEventListener("click", () => {
  const { gradient } = evaluate(state.loss, state.truth, [state.x, state.y]);
  move(state.x - 0.5 * gradient[0], state.y - 0.5 * gradient[1]);
});
$("home").addEventListener("click", () => move(START.x, START.y));
for (const axis of ["x", "y"]) {
  $(axis).addEventListener("input", () => { state[axis] = Number($(axis).value); redraw(); });
}
for (const [loss, { title }] of Object.entries(DATA.losses)) {
  $("loss").add(new Option(title, loss, false, loss === state.loss));
}
for (const knob of ["truth", "loss"]) {
  $(knob).value = state[knob];
  $(knob).addEventListener("change", () => {
    state[knob] = $(knob).value;
    if (knob === "truth") turnBack();
    redraw();
  });
}
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
render();
"""
