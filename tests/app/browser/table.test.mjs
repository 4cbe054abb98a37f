import assert from "node:assert/strict";
import test from "node:test";

import { birdAndProbability, toCsv } from "../../../app/browser/table.js";

const entry = (kind, fields = {}) => ({
  name: "a.jpg",
  result: {
    answer: { kind, text: "A text." },
    predictions: [{ label: "Ash Bird", scientific_name: "Avis fraxini", probability: 0.67 }],
  },
  ...fields,
});
const rowsOf = (entries) => toCsv(entries).trimEnd().split("\r\n").slice(1);

test("a row of the CSV file has the label and the probability", () => {
  assert.deepEqual(rowsOf([entry("species")]), ["a.jpg,species,Ash Bird,Avis fraxini,0.6700,,A text."]);
});

test("a row of an unknown bird has no label and no probability", () => {
  assert.deepEqual(rowsOf([entry("unknown")]), ["a.jpg,unknown,,,,Ash Bird,A text."]);
});

test("a photo without a result is a row with its error", () => {
  assert.deepEqual(rowsOf([{ name: "a.jpg", error: "Not a photo." }]), ["a.jpg,problem,,,,,Not a photo."]);
});

test("commas, quotes and line breaks are quoted, and no cell is a formula", () => {
  for (const [name, cell] of [
    ["a, b.jpg", '"a, b.jpg"'],
    ['a "b".jpg', '"a ""b"".jpg"'],
    ["=1+1.jpg", "'=1+1.jpg"],
    ["-a.jpg", "'-a.jpg"],
    ["@a, b.jpg", "\"'@a, b.jpg\""],
  ])
    assert.equal(rowsOf([entry("species", { name })])[0], `${cell},species,Ash Bird,Avis fraxini,0.6700,,A text.`);
  assert.match(toCsv([entry("species", { name: "a\nb" })]), /"a\nb",species/);
});

test("the table shows no probability for an unknown bird", () => {
  assert.deepEqual(birdAndProbability(entry("species")), ["Ash Bird", "67\u00a0%"]);
  assert.deepEqual(birdAndProbability(entry("unknown")), ["Unknown", ""]);
  assert.deepEqual(birdAndProbability(entry("unknown", { foundNone: true })), ["No bird found", ""]);
  assert.deepEqual(birdAndProbability(entry("unknown", { foundNone: true, moved: true })), ["Unknown", ""]);
  assert.deepEqual(birdAndProbability({ error: "Not a photo." }), ["Not a photo.", ""]);
});
