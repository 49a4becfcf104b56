import assert from "node:assert/strict";
import { test } from "node:test";

import { reachOf } from "../../web/lib/copy.js";
import { readAddress, writeAddress } from "../../web/lib/address.js";
import { readPaint } from "../../web/network/state.js";

const RULES = { loss: ["dice", "hinge"], x: [-3, 3] };

test("settings come back from the address that they were written to", () => {
  const settings = { loss: "dice", x: -1.25 };
  assert.deepEqual(readAddress(writeAddress(settings), RULES), settings);
  assert.equal(writeAddress({ x: 1 / 3 }), "#x=0.333");
});

test("what breaks its rule is left out", () => {
  for (const text of ["", "#", "#loss=focal", "#x=4", "#x=", "#x=%20", "#x=NaN", "#y=1", "#loss",
    "#toString=1", "#hasOwnProperty=x", "#__proto__=1"]) {
    assert.deepEqual(readAddress(text, RULES), {}, text);
  }
  assert.deepEqual(readAddress("#x=9&loss=hinge", RULES), { loss: "hinge" });
});

test("paint with a brush that there is not is left out", () => {
  assert.deepEqual(readPaint("road-9-8-3"), [{ brush: "road", x: 9, y: 8, radius: 3 }]);
  for (const brush of ["mud", "toString", ""]) assert.equal(readPaint(`${brush}-9-8-3`), null, brush);
});

test("a link to a file or a server of this computer says that it leads nowhere else", () => {
  assert.equal(reachOf({ protocol: "https:", hostname: "example.org" }), "");
  assert.match(reachOf({ protocol: "file:", hostname: "" }), /a file on this computer/);
  for (const hostname of ["localhost", "127.0.0.1", "[::1]"]) {
    assert.match(reachOf({ protocol: "http:", hostname }), /a server on this computer/);
  }
});
