// Show the result for a photo: the answer, its reliability, and the likeliest species.

import { createElement } from "./dom.js";
import { displayName, formatPercent, joinUnits, reliabilityText } from "./format.js";

const SIMILAR_SPECIES = 3; // named for a bird that the model doesn't know

// Return the common and the scientific name as nodes.
export function speciesName(species) {
  const scientific = species.scientific_name;
  return [displayName(species), scientific && " ", scientific && createElement("i", { lang: "la" }, scientific)];
}

// Return the elements of a result; `model` is the model card, or null.
export function resultView(result, model) {
  const { answer, predictions } = result;
  const unknown = answer.kind === "unknown";
  return [
    createElement("h2", {}, joinUnits(answer.text)),
    createElement("p", { class: "quiet reliability" }, joinUnits(reliabilityText(result, model))),
    unknown ? similarSpecies(predictions) : createElement("ol", { class: "bars", role: "list" }, predictions.map(probabilityBar)),
    !unknown && wikipediaLink(predictions[0]),
  ];
}

// Return a note on where the model looked, or null if the square says it.
export function searchNote({ birds, bird, image, moved, foundNone }) {
  const text = {
    none: `No bird found; I looked at the middle.${image ? " If there is a bird, move the square to it." : ""}`,
    uncertain: "No bird found for certain; I looked at the middle. Select another place on the photo.",
    several: `${birds.length} birds found; this is bird ${birds.indexOf(bird) + 1}. Select another on the photo.`,
  };
  const kind = birds.length < 2 ? foundNone && "none" : foundNone ? "uncertain" : "several";
  return kind && !moved ? createElement("p", { class: "note" }, text[kind]) : null;
}

// Without probabilities: they are shares among the species that the model knows.
function similarSpecies(predictions) {
  const items = predictions.slice(0, SIMILAR_SPECIES).map((species) => createElement("li", {}, speciesName(species)));
  return createElement("ul", { class: "similar" }, items);
}

function probabilityBar(prediction) {
  const filled = createElement("span");
  filled.style.width = `${(100 * prediction.probability).toFixed(1)}%`;
  return createElement(
    "li",
    {},
    createElement("span", {}, speciesName(prediction)),
    createElement("span", { class: "percent" }, formatPercent(prediction.probability)),
    createElement("span", { class: "bar", "aria-hidden": "true" }, filled),
  );
}

function wikipediaLink(species) {
  if (!species.scientific_name) return null;
  const title = encodeURIComponent(species.scientific_name.replaceAll(" ", "_"));
  const link = { href: `https://en.wikipedia.org/wiki/${title}`, target: "_blank", rel: "noopener noreferrer" };
  return createElement("p", { class: "more" }, createElement("a", link, `Read about ${displayName(species)}`));
}
