import assert from "node:assert/strict";
import test from "node:test";

import { contours, evidenceLevel, interpolate, outlinePath } from "../../../app/browser/heatmap.js";

const area = (loop) =>
  loop.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = loop[(index + 1) % loop.length];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);

test("the smallest area with half of the evidence is outlined", () => {
  assert.equal(evidenceLevel([0, 4, 1, 3], 0.5), 4);
  assert.equal(evidenceLevel([0, 3, 2, 3], 0.5), 3);
  assert.equal(evidenceLevel([1, 1, 1, 1], 0.5), 1);
});

test("a map without evidence has no outline", () => {
  assert.equal(outlinePath({ width: 2, height: 2, values: [0, 0, 0, 0] }), "");
});

test("values are interpolated between the centres of the cells", () => {
  assert.deepEqual(interpolate([0, 1], 2, 1, 4, 1), [0, 0.25, 0.75, 1]);
});

test("one peak has one contour, half way down its slopes", () => {
  const loops = contours([0, 0, 0, 0, 1, 0, 0, 0, 0], 3, 3, 0.5);
  assert.equal(loops.length, 1);
  assert.deepEqual(loops[0].map(String).sort(), ["0.5,1", "1,0.5", "1,1.5", "1.5,1"]);
});

test("two peaks have two contours", () => {
  assert.equal(contours([1, 0, 1], 3, 1, 0.5).length, 2);
});

test("a hole has a contour that runs the other way", () => {
  const areas = contours([1, 1, 1, 1, 0, 1, 1, 1, 1], 3, 3, 0.5).map(area);
  assert.equal(areas.length, 2);
  assert.ok(areas[0] * areas[1] < 0);
});

test("every contour is closed, on random maps as well", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 50; round += 1) {
    const values = Array.from({ length: 49 }, random);
    const inside = values.filter((value) => value >= 0.5).length;
    const total = contours(values, 7, 7, 0.5).map(area).reduce((sum, value) => sum + value, 0);
    assert.ok(Math.abs(Math.abs(total) - inside) < 0.75 * inside, `${total} for ${inside} points`);
    assert.match(outlinePath({ width: 7, height: 7, values }), /^(M[\d.\- L]+Z)+$/);
  }
});
