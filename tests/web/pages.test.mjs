import assert from "node:assert/strict";
import { test } from "node:test";

import * as merging from "../../web/merging/state.js";
import { TOUR as MERGING_TOUR } from "../../web/merging/tour.js";
import { TRUE_BOX, boxesOf, change, judge, search } from "../../web/quality/proof.js";
import * as quality from "../../web/quality/state.js";
import { TOUR as QUALITY_TOUR } from "../../web/quality/tour.js";

const scores = () => {
  const { quality: { all }, semantic, ap } = quality.compute();
  return { pq: all.pq, miou: semantic.miou, ap };
};
const opened = (page, address) => {
  page.readState(address);
  return page.compute();
};
const fates = ({ merged }) => Object.fromEntries(merged.steps.map((s) => [s.letter, s.fate]));

// A page's address -----------------------------------------------------------------------------

for (const [name, page, tour] of [
  ["merging", merging, MERGING_TOUR],
  ["quality", quality, QUALITY_TOUR],
]) {
  test(`${name}: every stop of the tour is an address that the page writes itself`, () => {
    assert.equal(tour.length, 6);
    for (const { address, title, text } of tour) {
      assert.ok(title && text.length > 60);
      page.readState(address);
      page.readState(page.addressOfState());
      const once = page.addressOfState();
      page.readState(address);
      assert.equal(page.addressOfState(), once);
    }
  });

  test(`${name}: an address that makes no sense opens the page as it starts`, () => {
    page.readState("");
    assert.equal(page.addressOfState(), "#");
    for (const text of ["#x=1&%", "#A=1.2.3&rule=best&score=2", "#A=1.1.5.5.sky.50", "#A=1.1.5.5.car.",
      "#p=0.0.0&t=9", "#p=99.0.0.0.0.48.car.90", "#p=0.0.0.0.9.9.car.90", "#t=000", "#limit=0.9&mover=C"]) {
      page.readState(text);
      assert.equal(page.addressOfState(), "#", text);
    }
  });
}

test("merging: moved, resized and relabeled masks come back from their address", () => {
  merging.readState("");
  merging.move(-3, 2);
  merging.resize(1);
  merging.masks.C.label = "bus";
  merging.masks.C.score = 0.99;
  merging.state.rule = "softer";
  merging.lookAt(5, 6);
  const [address, masks] = [merging.addressOfState(), structuredClone(merging.masks)];
  merging.readState(address);
  assert.deepEqual(merging.masks, masks);
  assert.equal(merging.state.pixel, 6 * 48 + 5);
  assert.equal(merging.addressOfState(), address);
});

test("quality: an edited prediction comes back from its address", () => {
  quality.readState("");
  quality.move(-2, 1);
  quality.growBy(-1);
  quality.choose(5);
  quality.split();
  quality.state.segments[0].name = "road";
  quality.state.statuses[4] = "normal";
  const [address, segments] = [quality.addressOfState(), structuredClone(quality.state.segments)];
  const before = quality.compute().quality;
  quality.readState(address);
  assert.deepEqual(quality.state.segments, segments);
  assert.deepEqual(quality.compute().quality, before);
  quality.readState("#p=none");
  assert.equal(quality.compute().prediction.segments.length, 0);
  assert.equal(quality.addressOfState(), "#p=none&chosen=0");
});

// What the tours claim -------------------------------------------------------------------------

test("merging: a second detection goes, and comes back as a false positive where the limit allows it", () => {
  const start = opened(merging, "");
  assert.deepEqual(fates(start), { A: "kept", B: "kept", C: "hidden", D: "kept", E: "score" });
  const loose = opened(merging, "#overlap=0.95");
  assert.equal(fates(loose).C, "kept");
  assert.ok(loose.quality.all.pq < start.quality.all.pq);
  assert.equal(loose.matches.falsePositives.length, 1);
});

test("merging: by the softer rule the sky takes the roof of the bus, and a margin gives it back", () => {
  const roof = ({ claims }) => claims.map(({ kind, fate }) => `${kind} ${fate}`);
  assert.deepEqual(roof(opened(merging, "#pixel=414")), ["instance got", "stuff taken"]);
  assert.deepEqual(roof(opened(merging, "#pixel=414&rule=softer")), ["instance stuff", "stuff got"]);
  for (const more of ["&margin=0.07", "&sure=0.83"]) {
    const claims = roof(opened(merging, `#pixel=414&rule=softer${more}`));
    assert.deepEqual(claims, ["instance got", "stuff taken"]);
  }
});

test("merging: small stuff is void; below the limit it is one false positive more", () => {
  const start = opened(merging, "#pixel=1453");
  assert.deepEqual(start.claims.map(({ fate }) => fate), ["small"]);
  const more = opened(merging, "#pixel=1453&area=10");
  assert.equal(more.matches.falsePositives.length, start.matches.falsePositives.length + 1);
});

test("merging: the dog is right, and missed for its score alone", () => {
  const start = opened(merging, "");
  const loose = opened(merging, "#score=0.35");
  assert.equal(start.matches.falseNegatives.length, 1);
  assert.equal(loose.matches.falseNegatives.length, 0);
  assert.ok(loose.quality.all.pq > start.quality.all.pq);
});

test("merging: the steps come one by one, and stuff last", () => {
  for (let steps = 0; steps <= merging.ALL_STEPS; steps++) {
    const { merged, hasStuff } = opened(merging, `#steps=${steps}`);
    assert.equal(merged.steps.length, Math.min(steps, 5));
    assert.equal(hasStuff, steps === 6);
    assert.equal(merged.segments.some(({ isThing }) => !isThing), steps === 6);
  }
});

test("quality: half an IoU is a cliff for PQ, and none for mean IoU", () => {
  quality.readState("");
  const seen = [];
  for (let i = 0; i < 3; i++) {
    const { candidates } = quality.compute();
    const { iou } = candidates.find(({ truth, predicted }) => truth.id === 8 && predicted.id === 8);
    seen.push({ iou, ...scores() });
    quality.move(-1, 0);
  }
  const leap = seen.findIndex(({ iou }) => iou > 0.5);
  assert.ok(leap > 0, "the start is below one half, and few moves bring it above");
  const step = (name, i) => seen[i][name] - seen[i - 1][name];
  assert.ok(step("pq", leap) > 0.04);
  assert.ok(step("pq", leap) > 4 * step("pq", leap + 1));
  assert.ok(step("miou", leap) < 1.2 * step("miou", leap + 1));
});

test("quality: a split costs PQ a match and two false positives, and mean IoU nothing", () => {
  const before = opened(quality, "#chosen=5");
  quality.split();
  const after = quality.compute();
  assert.deepEqual(after.semantic, before.semantic);
  const bus = ({ quality: { perClass } }) => perClass.find(({ category }) => category.name === "bus");
  assert.deepEqual([bus(before).tp, bus(before).fp, bus(before).fn], [1, 0, 0]);
  assert.deepEqual([bus(after).tp, bus(after).fp, bus(after).fn], [0, 2, 1]);
});

const areaOf = (segment) => quality.maskOf(segment).reduce((sum, covered) => sum + covered, 0);

test("quality: the two parts of a cut share no pixel and are the whole, at any angle and position", () => {
  let num = 0;
  for (let angle = 0; angle < 180; angle += 15) {
    for (const [position, grown] of [[50, 0], [20, 1], [85, -1]]) {
      quality.readState(`#chosen=5&angle=${angle}&position=${position}`);
      quality.move(-3, 2);
      quality.growBy(grown);
      const whole = quality.maskOf(quality.state.segments[5]);
      assert.ok(quality.split());
      const [one, other] = quality.state.segments.slice(5, 7).map(quality.maskOf);
      assert.ok(one.includes(1) && other.includes(1));
      whole.forEach((covered, pixel) => assert.equal(one[pixel] + other[pixel], covered));
      num += 1;
    }
  }
  assert.equal(num, 36);
});

test("quality: a cut at a fifth leaves the match to the larger part", () => {
  quality.readState("#chosen=5&position=20");
  quality.split();
  const { matches } = quality.compute();
  const bus = matches.pairs.find(({ truth }) => quality.trueName(truth.id) === "bus");
  assert.ok(bus.iou > 0.5);
  assert.ok(areaOf(quality.state.segments[bus.predicted.id - 1]) > 100);
});

test("quality: a cut part is cut again, grown over the cut, and comes back from the address", () => {
  quality.readState("#chosen=5");
  quality.growBy(1);
  quality.split();
  quality.split([0, 5, 48, 20]);
  assert.equal(quality.state.segments.length, 11);
  const before = areaOf(quality.state.segments[5]);
  quality.growBy(1);
  assert.ok(areaOf(quality.state.segments[5]) > before);
  const segments = structuredClone(quality.state.segments);
  quality.readState(quality.addressOfState());
  assert.deepEqual(quality.state.segments, segments);
});

test("quality: a line that leaves one side empty cuts nothing; a drawn one cuts what lies under it", () => {
  quality.readState("");
  for (const line of [[0, 0, 48, 0], [10, 10, 10, 10]]) {
    assert.ok(!quality.canSplit(line));
    assert.ok(!quality.split(line));
  }
  assert.equal(quality.state.segments.length, 9);
  quality.chooseUnder([28, 10, 42, 14]);
  assert.equal(quality.state.chosen, 5);
  for (const text of ["5.0.0.0.1*2.bus.90", "5.0.0.0.0*1*1*1*1*0.bus.90", "5.0.0.0.0*1*1*2*2*3.bus.90"]) {
    quality.readState(`#p=${text}`);
    assert.equal(quality.state.segments.length, 9, text);
  }
});

test("quality: a wrong class costs all three scores; deleting keeps the false negative alone", () => {
  quality.readState("#chosen=5");
  const start = scores();
  quality.state.segments[5].name = "car";
  const relabeled = scores();
  for (const name of ["pq", "miou", "ap"]) assert.ok(relabeled[name] < start[name], name);
  quality.state.segments[5].name = "bus";
  quality.remove();
  const { matches } = quality.compute();
  assert.deepEqual(matches.falseNegatives.map(({ id }) => quality.trueName(id)), ["bus", "car 2"]);
});

test("quality: what lies on void or on a crowd is ignored, until less than half of it does", () => {
  const { matches, prediction } = opened(quality, "#chosen=3");
  const ignored = matches.ignored.filter((segment) => prediction.segments.includes(segment));
  assert.deepEqual(ignored.map(({ id }) => quality.predictedName(id)), ["person 1", "person 2"]);
  for (let i = 0; i < 5; i++) quality.move(0, 1);
  const { falsePositives } = quality.compute().matches;
  assert.ok(falsePositives.some(({ id }) => id === 4));
});

test("quality: a lower score of the right car costs AP alone", () => {
  quality.readState("");
  const start = scores();
  quality.state.segments[6].score = 0.5;
  const after = scores();
  assert.ok(after.ap < start.ap);
  assert.deepEqual({ ...after, ap: 0 }, { ...start, ap: 0 });
});

test("quality: undo takes back one act, and a drag as a whole", () => {
  quality.readState("");
  const before = structuredClone(quality.state.segments);
  for (let i = 0; i < 4; i++) {
    quality.keep("drag 1");
    quality.move(-1, 0);
  }
  quality.keep("delete");
  quality.remove();
  quality.undo();
  assert.equal(quality.state.segments[7].dx, -4);
  quality.undo();
  assert.deepEqual(quality.state.segments, before);
  assert.ok(!quality.canUndo());
});

// The proof ------------------------------------------------------------------------------------

function random(seed) {
  let value = seed;
  return () => (value = (value * 16807) % 2147483647) / 2147483647;
}

test("two predictions that share no pixel never have both an IoU above one half", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { lower } = search(20_000, false, random(seed));
    assert.ok(lower <= 0.5 && lower > 0.45, String(lower));
  }
});

test("with overlap both conditions of the proof can be broken", () => {
  assert.ok(search(20_000, true, random(1)).lower > 0.9);
  const halves = [{ ...TRUE_BOX, width: 8 }, { ...TRUE_BOX, x: 16, width: 8 }];
  assert.deepEqual(judge(halves, false).ious, [0.5, 0.5]);
});

test("IoUs of the board are those of its pixels", () => {
  const draw = random(7);
  const whole = (low, high) => low + Math.floor(draw() * (high - low + 1));
  for (let i = 0; i < 200; i++) {
    const boxes = [0, 1].map(() => {
      const [x, y] = [whole(0, 31), whole(0, 15)];
      return { x, y, width: whole(1, 32 - x), height: whole(1, 16 - y) };
    });
    for (const mayOverlap of [true, false]) {
      const { ious } = judge(boxes, mayOverlap);
      const inside = ({ x, y, width, height }, column, row) =>
        column >= x && column < x + width && row >= y && row < y + height;
      const counts = [[0, 0], [0, 0]];
      for (let row = 0; row < 16; row++) {
        for (let column = 0; column < 32; column++) {
          const isTrue = inside(TRUE_BOX, column, row);
          const [a, b] = boxes.map((box) => inside(box, column, row));
          [a, b && (mayOverlap || !a)].forEach((isIn, k) => {
            if (isIn && isTrue) counts[k][0] += 1;
            if (isIn || isTrue) counts[k][1] += 1;
          });
        }
      }
      assert.deepEqual(ious, counts.map(([both, either]) => both / either));
    }
  }
});

test("a rectangle stays on the board", () => {
  quality.readState("");
  for (let i = 0; i < 40; i++) change(quality.state, { dx: 1, dy: 1 });
  const [{ x, y, width, height }] = boxesOf(quality.state);
  assert.deepEqual([x + width, y + height], [32, 16]);
  for (let i = 0; i < 40; i++) change(quality.state, { dw: 1, dh: 1 });
  assert.deepEqual(boxesOf(quality.state)[0], { x: 0, y: 0, width: 32, height: 16 });
});
