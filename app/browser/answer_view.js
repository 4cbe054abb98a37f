// What is said of the selected photo: the result, an error, or that the bird is being identified.

import { createElement } from "./dom.js";
import requestSettings from "./requests.json" with { type: "json" };
import { resultView, searchNote } from "./result.js";

// Return the elements for an entry; `model` is the model card, or null. The heat map is switched by a
// class of `root`.
export function answerView(entry, model, root, onRetry) {
  if (entry.error) {
    const retry = { type: "button", class: "second", onclick: onRetry };
    return [errorView(entry.error), entry.retriable && createElement("button", retry, "Try again")].filter(Boolean);
  }
  if (!entry.result) {
    const spinner = createElement("span", { class: "spinner", "aria-hidden": "true" });
    return [createElement("p", { class: "busy" }, spinner, "Identifying the bird…")];
  }
  const hasHeatmap = [entry.result, entry.birds[0]?.result].some((result) => result?.heatmap);
  try {
    const views = [searchNote(entry), ...resultView(entry.result, model), hasHeatmap && entry.image && heatmapSwitch(root)];
    return views.filter(Boolean);
  } catch {
    return [errorView(requestSettings.messages.unreadable)];
  }
}

function heatmapSwitch(root) {
  const checkbox = createElement("input", { type: "checkbox", checked: !root.classList.contains("without-heatmap") });
  checkbox.onchange = () => root.classList.toggle("without-heatmap", !checkbox.checked);
  return createElement("p", { class: "quiet switch" }, createElement("label", {}, checkbox, " Outline what mattered most to the model"));
}

const errorView = (text) => createElement("p", { class: "problem" }, text);
