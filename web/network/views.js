// The inside of each part: what opens when it is clicked. A view has a title, a text, controls that
// name settings of the state, and draw(root, page), which fills its place in the page.

import { drawAnchors, drawObjectness } from "./view_anchors.js";
import { drawDetection, drawMask } from "./view_instances.js";
import { drawLevel } from "./view_level.js";
import { drawMerge, drawQuality } from "./view_merge.js";
import { drawLabels } from "./view_semantic.js";

const LEVELS = { id: "level", label: "level", options: ["p2", "p3", "p4", "p5", "p6"] };
const CHANNEL = (num) => ({ id: "channel", label: "channel", least: 0, most: num - 1 });

const backbone = (k) => ({
  title: `c${k}: the backbone, ${2 ** k} pixels per cell`,
  text:
    "A ResNet-18 of half width. Each small picture is one channel: how strongly a learned pattern answers at each " +
    "cell. Fine levels know where edges are, coarse levels know what is there. Click a channel and a cell, or use the arrow keys.",
  controls: ({ maps }) => [CHANNEL(maps[`c${k}`].dims[1])],
  draw: (root, page) => drawLevel(root, page, `c${k}`),
});
const pyramid = (k) => ({
  title: `p${k}: the pyramid, ${2 ** k} pixels per cell`,
  text:
    k === 6
      ? "p6 is every second cell of p5, without weights of its own. Only large anchors use it."
      : `A 1 × 1 convolution brings c${k} to 32 channels (lateral), ${k === 5 ? "there is no level above" : `the level above is doubled and added (top-down)`}, ` +
        "and a 3 × 3 convolution smooths the sum. Below, these three steps in numbers for one cell of one channel.",
  controls: ({ maps }) => [CHANNEL(maps[`p${k}`].dims[1])],
  draw: (root, page) => drawLevel(root, page, `p${k}`),
});
const part = (k) => ({
  title: `Semantic branch: what p${k} adds`,
  text:
    `p${k} goes through ${k === 2 ? "one 3 × 3 convolution" : `${k - 2} times a 3 × 3 convolution and a doubling`}, up to 4 pixels per ` +
    "cell. The four levels are added; a 1 × 1 convolution gives a logit for each of 6 classes.",
  controls: ({ maps }) => [CHANNEL(maps[`s${k}`].dims[1])],
  draw: (root, page) => drawLevel(root, page, `s${k}`),
});

export const VIEWS = {
  ...Object.fromEntries([2, 3, 4, 5].map((k) => [`c${k}`, backbone(k)])),
  ...Object.fromEntries([2, 3, 4, 5, 6].map((k) => [`p${k}`, pyramid(k)])),
  ...Object.fromEntries([2, 3, 4, 5].map((k) => [`s${k}`, part(k)])),
  labels: {
    title: "Stuff labels: the softmax of a pixel",
    text:
      'The semantic branch gives each pixel a logit for "other" (every thing) and for five classes of stuff. The softmax ' +
      "turns logits into probabilities; the largest wins. Click a pixel, or use the arrow keys.",
    controls: () => [
      { id: "class", label: "probability of", options: ["other", "sky", "building", "road", "sidewalk", "grass"].map((name, i) => [i, name]) },
    ],
    draw: drawLabels,
  },
  objectness: {
    title: "Anchors and objectness: is there an object?",
    text:
      "At every cell of every level lie three anchors: boxes of fixed sizes. The RPN gives each a logit, from which the " +
      "sigmoid makes its objectness, and four deltas that move and resize it. Click a cell, or use the arrow keys.",
    controls: () => [LEVELS],
    draw: drawAnchors,
  },
  proposals: {
    title: "Proposals: decoding, and NMS step by step",
    text:
      "The best anchors of each level, moved by their deltas, are the candidates. NMS takes them from the best on: one that " +
      "overlaps a kept one by an IoU above 0.7 is dropped. The best 100 of all levels become proposals.",
    controls: ({ proposed }, state) => {
      const level = Number(state.level[1]) - 2;
      const num = proposed.steps.filter(({ index }) => proposed.candidates[index].level === level).length;
      return [LEVELS, { id: "item", label: "candidate", least: 0, most: Math.max(0, num - 1) }];
    },
    draw: drawObjectness,
  },
  detections: {
    title: "Detections: RoIAlign, class scores, the final box",
    text:
      "Each proposal is pooled from the level that fits its size, on 7 × 7 bins with 2 × 2 samples each. Two layers turn " +
      "that into class scores and, for each class, deltas of the box. NMS within each class drops duplicates.",
    controls: ({ instances, detected }) => [instanceChoice(instances, detected)],
    draw: drawDetection,
  },
  masks: {
    title: "Masks: 28 × 28, pasted into the image",
    text:
      "The final box is pooled on 14 × 14 bins; convolutions and a doubling give 28 × 28 probabilities for its class. They " +
      "are stretched to the box; a pixel from 0.5 on belongs to the mask. Click a pixel, or use the arrow keys.",
    controls: ({ instances, detected }) => [instanceChoice(instances, detected)],
    draw: drawMask,
  },
  merge: {
    title: "Merging: one instance at a time, then stuff",
    text:
      "Instances take their pixels by decreasing score. One below the least score is left out, and so is one that loses too " +
      "much of its mask to better ones. Stuff gets what is left, if the region is large enough.",
    controls: (_result, _state, merged) => [{ id: "step", label: "step", least: 0, most: merged.steps.length + 1 }],
    draw: drawMerge,
  },
  quality: {
    title: "Panoptic quality: predicted segments against the truth",
    text:
      "A predicted and a true segment of one class match if their IoU is above 0.5. SQ is the mean IoU of the matches, RQ is " +
      "TP / (TP + FP/2 + FN/2), and PQ is their product. Move the limits of merging above.",
    controls: () => [],
    draw: drawQuality,
  },
};

const instanceChoice = (instances, { detections }) => ({
  id: "item",
  label: "detection",
  options: detections.map((_, i) => [i, `${i + 1}: ${instances[i].name} ${(100 * instances[i].score).toFixed(1)} %`]),
});
