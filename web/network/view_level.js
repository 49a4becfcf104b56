// A level: all its channels, one of them large, and for the pyramid the arithmetic of one cell.

import { css } from "../lib/palette.js";
import { cellFrame, choosable, heat, mosaic, mosaicColumns, spread } from "./draw.js";
import { SIZE } from "./state.js";
import { number, signed } from "./words.js";

const ACCENT = [227, 18, 11];

export function drawLevel(root, page, name) {
  const { result, state, set } = page;
  const map = result.maps[name];
  const [, channels, height, width] = map.dims;
  const channel = Math.min(state.channel, channels - 1);
  const stride = SIZE.width / width;
  const [column, row] = [Math.floor(state.x / stride), Math.floor(state.y / stride)];
  root.innerHTML = `<div class="split"><div><h3>All ${channels} channels</h3><canvas class="all" role="img" aria-label="All channels of ${name}"></canvas></div>
<div><h3>Channel ${channel}, with the chosen cell</h3><canvas class="one" role="img" aria-label="Channel ${channel} of ${name}"></canvas><div class="facts"></div></div></div><div class="cell"></div>`;
  const [all, one] = [".all", ".one"].map((each) => root.querySelector(each));
  mosaic(all, map, channel, css(ACCENT));
  const columns = mosaicColumns(channels, all.clientWidth);
  const sheet = { width: columns, height: Math.ceil(channels / columns) };
  const at = { x: channel % columns, y: Math.floor(channel / columns) };
  choosable(all, sheet, at, (x, y) => {
    if (y * columns + x < channels) set({ channel: y * columns + x });
  });
  const picture = heat(map.data, { width, height, start: channel * width * height });
  cellFrame(spread(one, picture, { width, height }), column, row);
  choosable(one, { width, height }, { x: column, y: row }, (x, y) =>
    set({ x: Math.floor((x + 0.5) * stride), y: Math.floor((y + 0.5) * stride) }),
  );
  const value = map.data[(channel * height + row) * width + column];
  root.querySelector(".facts").innerHTML =
    `<p class="sum">Row ${row}, column ${column}: <b>${number(value)}</b>. The cell covers pixels ${column * stride} to ${(column + 1) * stride - 1} across, ${row * stride} to ${(row + 1) * stride - 1} down.</p>`;
  if (/^p[2-5]$/.test(name)) root.querySelector(".cell").innerHTML = arithmetic(page, Number(name[1]), channel, row, column);
}

// One cell of p_k in numbers: lateral, top-down, and the 3 x 3 convolution; checked against the
// network's own value.
function arithmetic({ result, state, fpn }, k, channel, row, column) {
  const steps = cellArithmetic(result.maps, fpn, k, channel, row, column, {
    topDown: state.topdown === "on",
    smooth: state.smooth === "on",
    isCut: state.cut === `p${k}`,
  });
  const terms = steps.largest
    .map(({ input, weight, value }) => `${number(weight)} × ${number(value)} <small>(c${k}, channel ${input})</small>`)
    .join(" + ");
  const above = steps.above === null ? "no level above" : number(steps.above);
  const nine = steps.nine
    .map((line) => `<tr>${line.map((value) => `<td>${value === null ? "edge: 0" : signed(value)}</td>`).join("")}</tr>`)
    .join("");
  const same = Math.abs(steps.total - steps.network) <= 1e-3 * Math.max(1, Math.abs(steps.network));
  return `<h3>One cell, in numbers: channel ${channel}, row ${row}, column ${column}</h3>
<div class="split even"><div>
<p class="sum"><b>Lateral</b> (1 × 1): bias ${number(steps.bias)} + ${terms} + ${steps.rest.count} smaller terms ${signed(steps.rest.sum)} = <b>${number(steps.lateral)}</b></p>
<p class="sum"><b>Top-down</b>: ${state.topdown === "on" ? `value of the level above at row ${row >> 1}, column ${column >> 1}: <b>${above}</b>` : "cut off: <b>0</b>"}</p>
<p class="sum"><b>Sum</b>: ${number(steps.lateral)} + ${number(state.topdown === "on" ? (steps.above ?? 0) : 0)} = <b>${number(steps.merged)}</b></p>
</div><div>
<p class="sum"><b>3 × 3</b>: what each of the nine cells around adds, over all 32 channels</p>
${state.smooth === "on" ? `<table class="nine"><tbody>${nine}</tbody></table><p class="sum">bias ${number(steps.smoothBias)} + the nine = <b>${number(steps.total)}</b></p>` : `<p class="sum">left out: the sum itself, <b>${number(steps.total)}</b></p>`}
<p class="sum">The network computed <b>${number(steps.network)}</b>: <span class="${same ? "ok" : "no"}">${same ? "the same" : "not the same"}</span>${state.cut === `p${k}` ? " (this level is cut off, so it is 0)" : ""}</p>
</div></div>`;
}

// The steps of one cell of p_k, from the maps and the FPN's weights.
export function cellArithmetic(maps, fpn, k, channel, row, column, { topDown, smooth, isCut }) {
  const { data, dims } = maps[`c${k}`];
  const [, inputs, height, width] = dims;
  const weights = fpn[`lateral.c${k}.weight`];
  const terms = Array.from({ length: inputs }, (_, input) => {
    const weight = weights[channel * inputs + input];
    const value = data[(input * height + row) * width + column];
    return { input, weight, value, product: weight * value };
  });
  const bias = fpn[`lateral.c${k}.bias`][channel];
  const lateral = bias + terms.reduce((sum, { product }) => sum + product, 0);
  const bySize = [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const largest = bySize.slice(0, 4);
  const rest = { count: inputs - largest.length, sum: bySize.slice(4).reduce((sum, { product }) => sum + product, 0) };
  const up = maps[`m${k + 1}`];
  const above = up ? up.data[(channel * (height >> 1) + (row >> 1)) * (width >> 1) + (column >> 1)] : null;
  const merged = lateral + (topDown ? (above ?? 0) : 0);

  const own = maps[`m${k}`];
  const kernel = fpn[`smooth.p${k}.weight`];
  const channels = own.dims[1];
  const nine = [-1, 0, 1].map((dy) =>
    [-1, 0, 1].map((dx) => {
      const [y, x] = [row + dy, column + dx];
      if (y < 0 || x < 0 || y >= height || x >= width) return null;
      let sum = 0;
      for (let j = 0; j < channels; j++) {
        sum += kernel[((channel * channels + j) * 3 + dy + 1) * 3 + dx + 1] * own.data[(j * height + y) * width + x];
      }
      return sum;
    }),
  );
  const smoothBias = fpn[`smooth.p${k}.bias`][channel];
  const smoothed = smoothBias + nine.flat().reduce((sum, value) => sum + (value ?? 0), 0);
  const total = isCut ? 0 : smooth ? smoothed : merged;
  const network = maps[`p${k}`].data[(channel * height + row) * width + column];
  return { bias, largest, rest, lateral, above, merged, nine, smoothBias, total, network };
}
