import assert from "node:assert/strict";
import test from "node:test";

import { clampSquare, largestCentredSquare, scaleSquare, squareAfterKey } from "../../../app/browser/square.js";

test("the first square is the largest one in the middle", () => {
  assert.deepEqual(largestCentredSquare(900, 500), { left: 200, top: 0, side: 500 });
  assert.deepEqual(largestCentredSquare(500, 900), { left: 0, top: 200, side: 500 });
  assert.deepEqual(largestCentredSquare(227, 227), { left: 0, top: 0, side: 227 });
});

test("a square stays within the photo", () => {
  assert.deepEqual(clampSquare({ left: -50, top: 700, side: 200 }, 900, 600), { left: 0, top: 400, side: 200 });
  assert.deepEqual(clampSquare({ left: 10, top: 10, side: 5000 }, 900, 600), { left: 10, top: 0, side: 600 });
  assert.equal(clampSquare({ left: 0, top: 0, side: 1 }, 900, 600).side, 30);
});

test("arrow keys move the square, and plus and minus resize it around its centre", () => {
  const square = { left: 100, top: 100, side: 200 };
  assert.deepEqual(squareAfterKey("ArrowLeft", square, 10), { left: 90, top: 100, side: 200 });
  assert.deepEqual(squareAfterKey("-", square, 10), { left: 110, top: 110, side: 180 });
  assert.equal(squareAfterKey("a", square, 10), undefined);
});

test("a square of a shrunk photo becomes one of the photo, and stays within it", () => {
  assert.deepEqual(scaleSquare([100, 50, 300, 300], [2.5, 2.5], 4000, 3000), { left: 250, top: 125, side: 750 });
  const { left, side } = scaleSquare([467, 0, 533, 533], [4000 / 1000, 2133 / 533], 4000, 2133);
  assert.ok(left + side <= 4000 && side <= 2133);
});
