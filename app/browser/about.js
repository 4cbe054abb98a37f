// What the model knows, how good it is, and what becomes of a photo.

import { named } from "./answer.js";
import { element, percent } from "./dom.js";

// Return the section; `model` is what the model says of itself, `problem` why that isn't known.
export function aboutView(model, problem) {
  const said = model
    ? [
        element("p", {}, `It learned from ${model.trained_on}. ${judged(model)}`),
        element("p", {}, limits(model)),
        element("p", {}, `Licence: ${model.licence}`),
      ]
    : [problem && element("p", {}, `What the model knows cannot be shown yet. ${problem}`)];
  return element(
    "section",
    { class: "about", "aria-label": "About the model" },
    element("h2", {}, "About the model"),
    said,
    element(
      "p",
      {},
      "Your browser cuts out and shrinks the square before it sends it, without the place and time " +
        "that a camera writes into a photo. It goes to the model for this one answer and is not kept. " +
        "A file that your browser can't open is sent as it is.",
    ),
    model && species(model),
  );
}

function judged({ metrics }) {
  const accuracy = metrics?.accuracy;
  if (!accuracy) return "";
  const between = (accuracy.interval || []).map(percent).join(" to ");
  const interval = between && ` (true value likely ${between})`;
  return `Of ${accuracy.n} such photos that it had never seen, it named ${percent(accuracy.value)} right${interval}.`;
}

function limits({ thresholds }) {
  const unknown = thresholds?.unknown
    ? "Of a photo that is unlike all of them it says that it doesn't know; it may be wrong in that too."
    : "It calls every bird one of the species it knows.";
  return `${unknown} A bird that is far away or half hidden it names worse than these figures say.`;
}

function species(model) {
  const labels = [...model.labels].sort((a, b) => a.label.localeCompare(b.label));
  const items = labels.map((each) => element("li", {}, named(each)));
  const count = element("p", { class: "quiet", role: "status" });
  const list = element("ul", {}, items);
  const search = element("input", {
    type: "search",
    class: "search",
    "aria-label": "Search the species it knows",
    placeholder: "Search",
    oninput: () => {
      const wanted = search.value.trim().toLowerCase();
      let left = 0;
      for (const item of items) {
        item.hidden = !item.textContent.toLowerCase().includes(wanted);
        left += !item.hidden;
      }
      count.textContent = wanted ? `${left} of ${items.length} species` : "";
    },
  });
  return element(
    "details",
    {},
    element("summary", {}, `The ${items.length} species it knows`),
    search,
    count,
    list,
    element("p", { class: "quiet" }, `${model.name}, version ${model.version}`),
  );
}
