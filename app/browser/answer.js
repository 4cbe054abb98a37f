// Show an answer: its sentence, how far to trust it, bars, and what the model looked at.

import { drawing, element, percent, unbroken } from "./dom.js";

export const nameOf = (species) => species.common_name || species.label;

export function named(species) {
  const latin = species.scientific_name;
  return [nameOf(species), latin && " ", latin && element("i", { lang: "la" }, latin)];
}

// Return the elements of an answer; `model` is what the model says of itself, or null.
export function answerView(found, model) {
  const { answer, predictions } = found;
  return [
    element("h2", {}, unbroken(answer.text)),
    element("p", { class: "quiet trust" }, unbroken(trust(found, model))),
    element("ol", { class: "bars", role: "list" }, predictions.map(bar)),
    more(found),
  ];
}

function bar(prediction) {
  const width = `${(100 * prediction.probability).toFixed(1)}%`;
  const filled = element("span");
  filled.style.width = width;
  return element(
    "li",
    {},
    element("span", {}, named(prediction)),
    element("span", { class: "percent" }, percent(prediction.probability)),
    element("span", { class: "bar", "aria-hidden": "true" }, filled),
  );
}

// Say how far an answer may be trusted, no further than what was measured.
export function trust({ answer, predictions }, model) {
  if (answer.kind === "unknown") return "Below is what it resembles most. None of it may be right.";
  if (answer.kind === "shortlist") {
    const level = model?.thresholds?.shortlist?.level;
    const often = level ? ` ${Math.round(100 * level)} times in 100` : "";
    return `Too close to call. The right one is on such a list${often}, if it is a species I know.`;
  }
  const sure = predictions[0].probability;
  const word = [[0.95, "Almost certain"], [0.8, "Quite sure"], [0.5, "More likely than not"]];
  return (word.find(([least]) => sure >= least) || [0, "Hardly more than a guess"])[1] + ".";
}

function more({ answer, predictions }) {
  const known = predictions[0].scientific_name;
  if (answer.kind === "unknown" || !known) return null;
  const place = `https://en.wikipedia.org/wiki/${encodeURIComponent(known.replaceAll(" ", "_"))}`;
  const text = `Read about ${nameOf(predictions[0])}`;
  return element("p", { class: "more" }, element("a", { href: place, target: "_blank", rel: "noopener noreferrer" }, text));
}

// Return the map of a photo's square, to be laid over it.
export function heatView({ width, height, values }) {
  const soft = drawing("filter", { id: "soft", x: 0, y: 0, width: 1, height: 1 });
  soft.append(drawing("feGaussianBlur", { stdDeviation: 0.5 }));
  const spots = drawing("g", { filter: "url(#soft)" });
  values.forEach((value, index) => {
    if (value <= 0.01) return;
    const [x, y] = [index % width, Math.floor(index / width)];
    spots.append(drawing("rect", { x, y, width: 1, height: 1, "fill-opacity": value.toFixed(2) }));
  });
  const viewBox = `0 0 ${width} ${height}`;
  return drawing("svg", { class: "heat", viewBox, preserveAspectRatio: "none", "aria-hidden": "true" }, soft, spots);
}
