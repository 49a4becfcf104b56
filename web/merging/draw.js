// The three pictures: what the branches predict, what merging makes of it, and the truth.

import { fillMap, hatch, label, marker, middleOf, openGrid, outline } from "../lib/grid.js";
import { OTHER } from "../lib/merge.js";
import { CATEGORIES, STUFF, THINGS, categoryOf, inkOn, segmentColors } from "../lib/palette.js";
import { SIZE } from "../lib/scene.js";
import { LETTERS, labelMap, masks, state, truth } from "./state.js";

const STUFF_COLORS = new Map(STUFF.map(({ color }, i) => [i + 1, color]));
export const colorOf = (name) => CATEGORIES.find((category) => category.name === name).color;

// Colors of the merged segments: an instance keeps its shade in every picture.
export const shadesOf = () => {
  const things = LETTERS.map((letter, i) => ({
    id: i + 1,
    isThing: true,
    label: THINGS.findIndex(({ name }) => name === masks[letter].label),
  }));
  const colors = segmentColors(things);
  return Object.fromEntries(LETTERS.map((letter, i) => [letter, colors.get(i + 1)]));
};

export function drawMasks(canvas, { instances, order }) {
  const grid = openGrid(canvas, SIZE);
  fillMap(grid, labelMap, STUFF_COLORS);
  hatch(grid, (pixel) => labelMap[pixel] === OTHER);
  const shades = shadesOf();
  // The chosen mask last, so that it lies over all others; then the highest score.
  const later = [...order].reverse().filter((index) => LETTERS[index] !== state.chosen);
  for (const index of [...later, LETTERS.indexOf(state.chosen)]) {
    const letter = LETTERS[index];
    const inside = (pixel) => instances[index].window.mask[pixel];
    const isChosen = letter === state.chosen;
    tint(grid, inside, shades[letter], isChosen ? 0.5 : 0.25);
    outline(grid, inside, { color: lighter(shades[letter]), thick: isChosen ? 4 : 2 });
    const middle = middleOf(inside, SIZE);
    if (middle !== null) label(grid, middle, letter, shades[letter]);
  }
  const words = order.map((index) => describe(LETTERS[index])).join("; ");
  canvas.setAttribute("aria-label", `Five masks over the labels of the semantic branch: ${words}.`);
}

const describe = (letter) =>
  `${letter} ${masks[letter].label}, score ${masks[letter].score.toFixed(2)}`;

// A border has to be seen on dark and on light colors.
const lighter = (color) => (inkOn(color) === "white" ? "#ffffff" : `rgb(${color.join(",")})`);

function tint({ pen, side, size }, inside, color, strength) {
  pen.fillStyle = `rgba(${color.join(",")},${strength})`;
  for (let pixel = 0; pixel < size.width * size.height; pixel++) {
    if (!inside(pixel)) continue;
    pen.fillRect((pixel % size.width) * side, Math.floor(pixel / size.width) * side, side, side);
  }
}

export function drawMerged(canvas, { merged }) {
  const grid = openGrid(canvas, SIZE);
  const shades = shadesOf();
  const letters = new Map(merged.steps.map(({ id, letter }) => [id, letter]));
  const colors = new Map(
    merged.segments.map((segment) => [
      segment.id,
      segment.isThing ? shades[letters.get(segment.id)] : categoryOf(segment).color,
    ]),
  );
  const words = drawSegments(grid, merged, colors, (segment) => ({
    text: `${letters.get(segment.id) ?? ""} ${categoryOf(segment).name}`.trim(),
    dash: [],
  }));
  marker(grid, state.pixel);
  canvas.setAttribute("aria-label", `The merged map: ${words.join(", ") || "void alone"}.`);
}

export function drawTruth(canvas, { matches }) {
  const grid = openGrid(canvas, SIZE);
  const colors = segmentColors(truth.segments);
  const ious = new Map(matches.pairs.map((pair) => [pair.truth.id, pair.iou]));
  const words = drawSegments(grid, truth, colors, (segment) => {
    const iou = ious.get(segment.id);
    const { name } = categoryOf(segment);
    return { text: `${name} ${iou ? iou.toFixed(2) : "missed"}`, dash: iou ? [] : [4, 4] };
  });
  canvas.setAttribute("aria-label", `The true segments, IoU of the match: ${words.join(", ")}.`);
}

// Draw all segments, and return their texts; labels last, so that no border crosses them.
function drawSegments(grid, { idMap, segments }, colors, describeSegment) {
  fillMap(grid, idMap, colors);
  const inside = ({ id }) => (pixel) => idMap[pixel] === id;
  const said = segments.map((segment) => ({ segment, ...describeSegment(segment) }));
  for (const { segment, dash } of said) {
    outline(grid, inside(segment), { color: "white", thick: 1, dash });
  }
  for (const { segment, text } of said) {
    label(grid, middleOf(inside(segment), SIZE), text, colors.get(segment.id));
  }
  return said.map(({ text }) => text);
}
