import assert from "node:assert/strict";
import { test } from "node:test";

import { readAddress, writeAddress } from "../../web/lib/address.js";

const RULES = { loss: ["dice", "hinge"], x: [-3, 3] };

test("settings come back from the address that they were written to", () => {
  const settings = { loss: "dice", x: -1.25 };
  assert.deepEqual(readAddress(writeAddress(settings), RULES), settings);
  assert.equal(writeAddress({ x: 1 / 3 }), "#x=0.333");
});

test("what breaks its rule is left out", () => {
  for (const text of ["", "#", "#loss=focal", "#x=4", "#x=", "#x=%20", "#x=NaN", "#y=1", "#loss"]) {
    assert.deepEqual(readAddress(text, RULES), {}, text);
  }
  assert.deepEqual(readAddress("#x=9&loss=hinge", RULES), { loss: "hinge" });
});
