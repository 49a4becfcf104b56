// Runs the network off the page's thread: ONNX Runtime for what has weights, our own functions for
// anchors, proposals and detections.

import { detect, selectProposals } from "../lib/boxes.js";

const LEVELS = ["p2", "p3", "p4", "p5", "p6"];
const STAGES = ["backbone", "fpn", "semantic", "rpn", "boxes", "masks"];
const sessions = {};
let ort = null;
let about = null;
let last = { image: null, maps: null }; // the backbone depends on the image alone

self.onmessage = async ({ data }) => {
  try {
    if (data.kind === "start") await start();
    else await answer(data);
  } catch (error) {
    self.postMessage({ kind: "error", text: String(error?.message ?? error) });
  }
};

async function start() {
  const began = performance.now();
  const say = (text) => self.postMessage({ kind: "loading", text });
  say("ONNX Runtime");
  const base = new URL("./", self.location.href).href;
  ort = await import(`${base}ort/ort.wasm.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = { wasm: `${base}ort/ort-wasm-simd-threaded.wasm` };
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const contents = await Promise.all(STAGES.map((name) => fetchBytes(`${base}model/${name}.onnx`)));
  about = await (await fetch(`${base}model/about.json`)).json();
  for (const [i, name] of STAGES.entries()) {
    say(`the network, part ${i + 1} of ${STAGES.length}`);
    sessions[name] = await ort.InferenceSession.create(contents[i], { graphOptimizationLevel: "all" });
  }
  self.postMessage({ kind: "ready", ms: performance.now() - began });
}

async function fetchBytes(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: found ${response.status}, expected the file`);
  return new Uint8Array(await response.arrayBuffer());
}

async function answer({ id, image, knobs }) {
  const began = performance.now();
  const result = await runNetwork(image, knobs);
  const buffers = Object.values(result.maps).map(({ data }) => data.buffer);
  self.postMessage({ kind: "result", id, ms: performance.now() - began, ...result }, [...new Set(buffers)]);
}

const scalar = (value) => new ort.Tensor("float32", Float32Array.of(value), [1]);
const boxesOf = (boxes) => new ort.Tensor("float32", Float32Array.from(boxes.flat()), [boxes.length, 4]);
const pick = (maps, names) => Object.fromEntries(names.map((name) => [name, maps[name]]));

async function runNetwork(image, knobs) {
  const [height, width] = about.settings.size;
  if (!last.image || image.some((value, i) => value !== last.image[i])) {
    const tensor = new ort.Tensor("uint8", image, [3, height, width]);
    last = { image: image.slice(), maps: await sessions.backbone.run({ image: tensor }) };
  }
  const pyramid = await sessions.fpn.run({
    ...last.maps,
    top_down: scalar(knobs.topDown),
    smooth: scalar(knobs.smooth),
    keep: new ort.Tensor("float32", Float32Array.from(knobs.keep), [4]),
  });
  const four = pick(pyramid, LEVELS.slice(0, 4));
  const semantic = await sessions.semantic.run(four);
  const rpn = await sessions.rpn.run(pick(pyramid, LEVELS));
  const instances = await runInstances(four, rpn, { width, height });
  const maps = {};
  for (const [name, { data, dims }] of Object.entries({ ...last.maps, ...pyramid, ...semantic, ...rpn })) {
    maps[name] = { data: data.slice(), dims };
  }
  return { maps, ...instances };
}

// From the RPN's output to detections with masks: one stage after the other.
async function runInstances(four, rpn, size) {
  const s = about.settings;
  const levels = LEVELS.map((level) => ({
    logits: rpn[`objectness_${level}`].data,
    deltas: rpn[`deltas_${level}`].data,
    anchors: rpn[`anchors_${level}`].data,
  }));
  const proposed = selectProposals(levels, size, {
    perLevel: s.proposalsPerLevel,
    total: s.proposals,
    threshold: s.rpnNms,
  });
  const boxes = proposed.proposals.map((index) => proposed.candidates[index].box);
  const nothing = { classLogits: new Float32Array(), detected: { candidates: [], steps: [], detections: [] }, maskProbs: [] };
  if (!boxes.length) return { proposed, ...nothing };
  const heads = await sessions.boxes.run({ ...four, proposals: boxesOf(boxes) });
  const classLogits = heads.class_logits.data;
  const detected = detect(classLogits, heads.class_deltas.data, boxes, size, {
    minScore: s.minScore,
    threshold: s.boxNms,
    most: s.maxDetections,
  });
  const chosen = detected.detections.map((index) => detected.candidates[index]);
  if (!chosen.length) return { proposed, ...nothing, classLogits: classLogits.slice(), detected };
  const labels = BigInt64Array.from(chosen, ({ label }) => BigInt(label));
  const { mask_probs: masks } = await sessions.masks.run({
    ...four,
    boxes: boxesOf(chosen.map(({ box }) => box)),
    labels: new ort.Tensor("int64", labels, [labels.length]),
  });
  const each = masks.data.length / chosen.length;
  const maskProbs = chosen.map((_, i) => masks.data.slice(i * each, (i + 1) * each));
  return { proposed, classLogits: classLogits.slice(), detected, maskProbs };
}
