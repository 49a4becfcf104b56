// Scores as bars and as a table of classes.

import { css } from "./palette.js";

export const percent = (value) => (value === null ? "-" : `${(100 * value).toFixed(1)}`);

// A bar for each [name, value in [0, 1] or null, value at the start], with a tick at the start.
export const barsOf = (rows) =>
  rows
    .map(([name, value, before]) => {
      const tick = before === null || before === undefined ? "" : `<i style="left:${100 * before}%"></i>`;
      const filled = `<b style="width:${100 * (value ?? 0)}%"></b>`;
      return `<div class="bar"><span>${name}</span><span class="track" aria-hidden="true">${filled}${tick}</span>
<output>${percent(value)}</output></div>`;
    })
    .join("");

// A square of a class's color, for legends.
export const chip = (color, text = "") =>
  `<span class="chip" style="background:${css(color)}">${text}</span>`;

// The rows of a table of all classes that count, with their counts and scores.
export function classTable(perClass) {
  const rows = perClass
    .filter(({ counts }) => counts)
    .map(({ category, tp, fp, fn, pq, sq, rq }) => {
      const cells = [tp, fp, fn, percent(sq), percent(rq), percent(pq)];
      return `<tr><th scope="row">${chip(category.color)} ${category.name}</th>${cells
        .map((cell) => `<td>${cell}</td>`)
        .join("")}</tr>`;
    });
  const head = ["class", "TP", "FP", "FN", "SQ", "RQ", "PQ"];
  return `<thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead>
<tbody>${rows.join("")}</tbody>`;
}

const shown = new WeakMap();

// Write HTML into an element, if it is not there already: what is read aloud is then read once.
export function fill(element, html) {
  if (shown.get(element) === html) return;
  shown.set(element, html);
  element.innerHTML = html;
}
