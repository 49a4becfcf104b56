// The whole network as one picture: a button with a live picture for each part, and arrows between.

import { heat, activity, put, segments } from "./draw.js";
import { sigmoid } from "../lib/boxes.js";
import { STUFF, THINGS, css } from "../lib/palette.js";
import { SIZE } from "./state.js";

const $ = (id) => document.getElementById(id);
const LEVELS = [5, 4, 3, 2];

// Every part: its name in the picture, and what it says below.
export const NODES = [
  ...LEVELS.map((k) => ({ id: `c${k}`, name: `c${k}`, area: `c${k}` })),
  ...LEVELS.map((k) => ({ id: `p${k}`, name: `p${k}`, area: `p${k}` })),
  ...LEVELS.map((k) => ({ id: `s${k}`, name: `from p${k}`, area: `s${k}` })),
  { id: "labels", name: "stuff labels", area: "labels" },
  { id: "objectness", name: "objectness", area: "objectness" },
  { id: "proposals", name: "proposals", area: "proposals" },
  { id: "detections", name: "detections", area: "detections" },
  { id: "masks", name: "masks", area: "masks" },
];

export function makeNodes(root, open) {
  for (const { id, name, area } of NODES) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "node";
    button.id = `node-${id}`;
    button.style.gridArea = area;
    button.innerHTML = `<canvas aria-hidden="true"></canvas><span><b>${name}</b> <i></i></span>`;
    button.addEventListener("click", () => open(id));
    root.append(button);
  }
}

// Paint every part anew.
export function paintNodes(result, state, image) {
  const canvasOf = (id) => $(`node-${id}`).querySelector("canvas");
  const say = (id, text) => ($(`node-${id}`).querySelector("i").textContent = text);
  for (const { id } of NODES) {
    $(`node-${id}`).setAttribute("aria-pressed", String(state.part === id));
    if (!(id in result.maps)) continue;
    const { values, width, height } = activity(result.maps[id]);
    const isFlat = values.every((value) => value === values[0]); // of a level that is cut off: dark
    put(canvasOf(id), heat(values, { width, height, low: isFlat ? undefined : 0 }));
    say(id, id[0] === "s" ? "" : `${result.maps[id].dims[1]} × ${height} × ${width}`);
  }
  put(canvasOf("labels"), labelSheet(result.labelMap, image));
  say("labels", "");
  put(canvasOf("objectness"), objectnessSheet(result.maps));
  say("objectness", "");
  const { candidates, proposals } = result.proposed;
  put(canvasOf("proposals"), boxSheet(image, proposals.map((i) => candidates[i].box), "#ffd21f"));
  say("proposals", String(proposals.length));
  put(
    canvasOf("detections"),
    boxSheet(image, result.instances.map(({ box }) => box), result.instances.map(({ label }) => css(THINGS[label].color))),
  );
  say("detections", String(result.instances.length));
  put(canvasOf("masks"), maskSheet(image, result.instances));
  say("masks", "28 × 28");
}

export function labelSheet(labelMap, image) {
  const list = STUFF.map((_, i) => ({ id: i + 1, label: i + 1, isThing: false }));
  return segments(labelMap, list, image, 0.85);
}

// The best objectness of any anchor at each cell of p2, where finer cells hide nothing coarser.
function objectnessSheet(maps) {
  const [height, width] = [32, 48];
  const values = new Float32Array(width * height);
  for (const [k, level] of ["p2", "p3", "p4", "p5", "p6"].entries()) {
    const cells = maps[level].dims[3];
    const each = maps[`objectness_${level}`].data;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = 3 * ((y >> k) * cells + (x >> k));
        const best = sigmoid(Math.max(each[at], each[at + 1], each[at + 2]));
        values[y * width + x] = Math.max(values[y * width + x], best);
      }
    }
  }
  return heat(values, { width, height, low: 0, high: 1 });
}

function faded(image, amount = 0.45) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * SIZE.width, height: 2 * SIZE.height });
  const pen = canvas.getContext("2d");
  const num = SIZE.width * SIZE.height;
  const small = Object.assign(document.createElement("canvas"), SIZE);
  const brush = small.getContext("2d");
  const data = brush.createImageData(SIZE.width, SIZE.height);
  for (let i = 0; i < num; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = image[c * num + i] * (1 - amount);
    data.data[4 * i + 3] = 255;
  }
  brush.putImageData(data, 0, 0);
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  pen.scale(2, 2);
  return { canvas, pen };
}

function boxSheet(image, boxes, colors) {
  const { canvas, pen } = faded(image);
  pen.lineWidth = boxes.length > 30 ? 1 : 2.5;
  boxes.forEach(([x0, y0, x1, y1], i) => {
    pen.strokeStyle = Array.isArray(colors) ? colors[i] : colors;
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  });
  return canvas;
}

function maskSheet(image, instances) {
  const { canvas, pen } = faded(image);
  for (const { window, label } of [...instances].reverse()) {
    pen.fillStyle = css(THINGS[label].color);
    for (let y = 0; y < window.height; y++) {
      for (let x = 0; x < window.width; x++) {
        if (window.mask[y * window.width + x]) pen.fillRect(window.left + x, window.top + y, 1, 1);
      }
    }
  }
  return canvas;
}

// Arrows between parts; their ends follow the layout, which differs on a phone.
const ARROWS = [
  ["in", "c2"], ["c2", "c3"], ["c3", "c4"], ["c4", "c5"],
  ...LEVELS.map((k) => [`c${k}`, `p${k}`, `cut${k}`]),
  ["p5", "p4", "topdown"], ["p4", "p3", "topdown"], ["p3", "p2", "topdown"],
  ...LEVELS.map((k) => [`p${k}`, `s${k}`, `cut${k}`]),
  ...LEVELS.map((k) => [`s${k}`, "labels", "stuff"]),
  ["p2", "objectness", "", "elbow"], ["p2", "detections", "pool", "elbow"], ["p2", "masks", "pool", "elbow"],
  ["objectness", "proposals"], ["proposals", "detections"], ["detections", "masks"],
  ["labels", "out", "stuff"], ["masks", "out", "instances"],
];

const ENDS = { in: "street", out: "map", "file-label": "file-label" };

export function drawArrows(svg, root, state) {
  const frame = root.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  const isNarrow = getComputedStyle(root).gridTemplateColumns.split(" ").length < 6;
  const boxOf = (name) => {
    const id = isNarrow && name === "in" ? "file-label" : name;
    const { left, top, right, bottom } = $(ENDS[id] ?? `node-${id}`).getBoundingClientRect();
    return { left: left - frame.left, top: top - frame.top, right: right - frame.left, bottom: bottom - frame.top };
  };
  const isOff = (kind) =>
    (kind === "topdown" && state.topdown === "off") ||
    kind === `cut${state.cut.slice(1)}` ||
    (kind === "stuff" && state.branch === "instances") ||
    (kind === "instances" && state.branch === "stuff");
  const paths = ARROWS.map(([from, to, kind, shape]) => {
    const off = Boolean(kind) && isOff(kind);
    const line = (shape === "elbow" ? elbow : route)(boxOf(from), boxOf(to));
    return `<path d="${line}" class="${off ? "off" : (kind ?? "")}" marker-end="url(#${off ? "tip-off" : "tip"})"/>`;
  });
  const tip = (id) =>
    `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>`;
  svg.innerHTML = `<defs>${tip("tip")}${tip("tip-off")}</defs>${paths.join("")}`;
}

// From one box to another, the short way between the sides that face each other.
function route(a, b) {
  const middle = (low, high) => (low + high) / 2;
  const overlapX = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  if (overlapX > 8) {
    const x = middle(Math.max(a.left, b.left), Math.min(a.right, b.right));
    return a.bottom <= b.top ? `M${x} ${a.bottom}L${x} ${b.top}` : `M${x} ${a.top}L${x} ${b.bottom}`;
  }
  const goesRight = a.right <= b.left;
  const [x0, x1] = goesRight ? [a.right, b.left] : [a.left, b.right];
  const overlapY = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  if (overlapY > 8) {
    const y = middle(Math.max(a.top, b.top), Math.min(a.bottom, b.bottom));
    return `M${x0} ${y}L${x1} ${y}`;
  }
  const [y0, y1] = [middle(a.top, a.bottom), middle(b.top, b.bottom)];
  const mid = middle(x0, x1);
  return `M${x0} ${y0}C${mid} ${y0} ${mid} ${y1} ${x1} ${y1}`;
}

// Down from the middle of one box, along the gap above the other, and down to that. Where more than
// a heading lies between them, as on a phone, the way down is the margin on the left.
function elbow(a, b) {
  const [x0, x1] = [(a.left + a.right) / 2, (b.left + b.right) / 2];
  const gap = b.top - 0.5 * Math.min(18, b.top - a.bottom);
  if (b.top - a.bottom > 150) {
    const [y, x] = [(a.top + a.bottom) / 2, a.left - 8];
    return `M${a.left} ${y}L${x} ${y}L${x} ${gap}L${x1} ${gap}L${x1} ${b.top}`;
  }
  return `M${x0} ${a.bottom}L${x0} ${gap}L${x1} ${gap}L${x1} ${b.top}`;
}
