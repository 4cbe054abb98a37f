// About the model: what it was trained on, how accurate it is, and what happens to a photo.

import { createElement } from "./dom.js";
import { formatPercent } from "./format.js";
import { speciesName } from "./result.js";

const PRIVACY =
  "Your browser sends a copy of the photo, so that the model can find the bird: shrunk to at most " +
  "1,600 pixels on its longer side (usually 300 to 700 kB), and without the place and time that a camera " +
  "stores. Once you move the square, it sends the square alone. The model uses each once, and nothing " +
  "is stored. A file that your browser can't open is sent unchanged.";

// Return the section; `model` is the model card, `error` a sentence that says why there is none.
export function aboutView(model, error) {
  const facts = model
    ? [`It was trained on ${model.trained_on}. ${accuracyText(model)}`, limitsText(model), `Licence: ${model.licence}`]
    : [error && `Information about the model is not available. ${error}`];
  const heading = createElement("h2", {}, "About the model");
  const paragraphs = [...facts, PRIVACY].filter(Boolean).map((text) => createElement("p", {}, text));
  const attributes = { class: "about", "aria-label": "About the model" };
  return createElement("section", attributes, heading, paragraphs, model && speciesList(model));
}

// Return a sentence with the measured accuracy, or nothing where it was not measured.
export function accuracyText({ metrics }) {
  const accuracy = metrics?.accuracy;
  if (!accuracy) return "";
  const bounds = (accuracy.interval || []).map(formatPercent).join(" to ");
  const interval = bounds && ` (95\u00a0% interval ${bounds})`;
  return `Of ${accuracy.n} similar photos that were not used for training, it identified ${formatPercent(accuracy.value)} correctly${interval}.`;
}

function limitsText({ thresholds }) {
  const unknown = thresholds?.unknown
    ? "It can reject a bird that is unlike all of these, but not reliably."
    : "It assigns every bird to one of these species, even a bird of another species.";
  return `${unknown} Expect lower accuracy for birds that are far away or half hidden.`;
}

function speciesList(model) {
  const labels = [...model.labels].sort((a, b) => a.label.localeCompare(b.label));
  const items = labels.map((species) => createElement("li", {}, speciesName(species)));
  const count = createElement("p", { class: "quiet", role: "status" });
  const attributes = { type: "search", class: "search", placeholder: "Search" };
  const search = createElement("input", { ...attributes, "aria-label": "Search the species that the model knows" });
  search.oninput = () => {
    const wanted = search.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
    const visible = items.filter((item) => !item.hidden).length;
    count.textContent = wanted ? `${visible} of ${items.length} species` : "";
  };
  const summary = createElement("summary", {}, `The ${items.length} species that it knows`);
  const version = createElement("p", { class: "quiet" }, `${model.name}, version ${model.version}`);
  return createElement("details", {}, summary, search, count, createElement("ul", {}, items), version);
}
