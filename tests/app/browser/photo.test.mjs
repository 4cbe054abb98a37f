import assert from "node:assert/strict";
import test from "node:test";

import { rejectionText, shrunkSize } from "../../../app/browser/photo.js";

test("the longer side of a region is shrunk, and never enlarged", () => {
  assert.deepEqual(shrunkSize(4000, 3000, 1600), [1600, 1200]);
  assert.deepEqual(shrunkSize(300, 200, 1600), [300, 200]);
  assert.deepEqual(shrunkSize(1, 9000, 1600), [1, 1600]);
});

test("a file that no photo can be is rejected, and one that the function may decode is not", () => {
  const rejection = (name, type, size) => rejectionText({ name, type, size });
  assert.equal(rejection("phone.heic", "", 1000), null);
  assert.equal(rejection("photo", "image/tiff", 1000), null);
  for (const file of [["empty.jpg", "image/jpeg", 0], ["letter.txt", "text/plain", 10], ["big.heic", "", 3e7]])
    assert.ok(rejection(...file).includes(file[0]));
});
