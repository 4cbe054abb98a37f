import assert from "node:assert/strict";
import test from "node:test";

import { foundBirds } from "../../../app/browser/birds.js";
import { PhotoEntry } from "../../../app/browser/entry.js";
import { searchNote } from "../../../app/browser/result.js";

const result = (label, kind = "species") => ({ predictions: [{ label, probability: 0.8 }], answer: { kind } });
const photo = { width: 1600, height: 1200, crop: [100, 50, 300, 300], crop_from: "finder" };
const first = { ...result("Ash Bird"), box: [120, 60, 200, 100], crop: photo.crop };
const second = { ...result("Reed Bird", "unknown"), box: [900, 700, 100, 100], crop: [890, 690, 120, 120] };
const response = { ...result("Ash Bird"), photo, birds: [first, second] };
const entryAfter = (responseOfFunction) => {
  const entry = new PhotoEntry({ name: "a.jpg" });
  entry.image = { naturalWidth: 4000, naturalHeight: 3000 };
  entry.accept(responseOfFunction);
  return entry;
};

test("birds are placed on the photo as it was picked", () => {
  const [one, two] = foundBirds(response, 4000, 3000);
  assert.deepEqual(one.square, { left: 250, top: 125, side: 750 });
  assert.deepEqual(one.box, { left: 300, top: 150, width: 500, height: 250 });
  assert.equal(one.result, response);
  assert.deepEqual([one.name, two.name], ["Bird 1: Ash Bird", "Bird 2: unknown"]);
  assert.deepEqual(two.crop, [890, 690, 120, 120]);
});

test("a function that looks for no birds leaves the middle square", () => {
  const older = { ...result("Ash Bird"), photo: { width: 1600, height: 1200, crop: [200, 0, 1200, 1200] } };
  for (const answer of [older, result("Ash Bird")]) {
    const entry = entryAfter(answer);
    assert.deepEqual(entry.square, { left: 500, top: 0, side: 3000 });
    assert.equal(searchNote(entry), null);
  }
});

test("that no bird was found is said only where a finder looked", () => {
  const middle = { ...photo, crop: [200, 0, 1200, 1200], crop_from: "center" };
  const foundNone = (milliseconds) => entryAfter({ ...response, photo: middle, birds: [first], milliseconds }).foundNone;
  assert.deepEqual([foundNone({ find: 9.1 }), foundNone({ find: 0 }), entryAfter(response).foundNone], [true, false, false]);
});

test("a selected bird and a moved square are shown instead of the first bird", () => {
  const entry = entryAfter(response);
  entry.select(entry.birds[1]);
  assert.equal(entry.result.answer.kind, "unknown");
  assert.deepEqual(entry.square, { left: 2225, top: 1725, side: 300 });
  entry.moveSquare({ left: 0, top: 0, side: 500 });
  entry.accept(result("Oak Bird"));
  assert.deepEqual([entry.square.side, entry.bird, entry.birds.length], [500, null, 2]);
  assert.equal(entry.result.predictions[0].label, "Oak Bird");
});
