import assert from "node:assert/strict";
import test from "node:test";

import { accuracyText } from "../../../app/browser/about.js";
import { formatPercent, reliabilityText } from "../../../app/browser/format.js";

const result = (kind, probability) => ({ answer: { kind }, predictions: [{ label: "Ash Bird", probability }] });

test("no probability is shown as 0 or 100 %", () => {
  const shown = [0, 0.0099, 0.01, 0.806, 0.994, 0.995, 1].map(formatPercent);
  const spaced = ["< 1 %", "< 1 %", "1 %", "81 %", "99 %", "> 99 %", "> 99 %"];
  assert.deepEqual(shown, spaced.map((text) => text.replace(/ %/, "\u00a0%")));
});

test("the reliability of a species falls with its probability", () => {
  const texts = [0.97, 0.85, 0.6, 0.3].map((probability) => reliabilityText(result("species", probability), null));
  assert.equal(new Set(texts).size, 4);
  assert.equal(reliabilityText(result("species", 0.96), null), texts[0]);
});

test("the reliability of a shortlist is the measured one", () => {
  const model = { thresholds: { shortlist: { level: 0.9 } } };
  assert.match(reliabilityText(result("shortlist", 0.5), model), /\b90\b/);
  assert.doesNotMatch(reliabilityText(result("shortlist", 0.5), null), /\d/);
});

test("the reliability of an unknown bird has no number", () => {
  assert.doesNotMatch(reliabilityText(result("unknown", 0.67), null), /\d|%/);
});

test("accuracy is shown with its interval and the number of photos", () => {
  const text = accuracyText({ metrics: { accuracy: { value: 0.75, interval: [0.53, 0.89], n: 20 } } });
  for (const number of ["20", "75", "53", "89"]) assert.ok(text.includes(number), number);
  assert.equal(accuracyText({}), "");
});
