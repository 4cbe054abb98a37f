// Names, numbers and sentences as a visitor reads them.

const CONFIDENCE = [
  [0.95, "Almost certain."],
  [0.8, "Fairly certain."],
  [0.5, "More likely than not."],
  [0, "Little more than a guess."],
];

export const displayName = (species) => species.common_name || species.label;

// Keep a number and its percent sign on one line.
export const joinUnits = (text) => text.replaceAll(" %", "\u00a0%");

export function formatPercent(proportion) {
  if (proportion < 0.01) return "< 1\u00a0%";
  return `${proportion >= 0.995 ? "> 99" : Math.round(100 * proportion)}\u00a0%`;
}

// Return how far a result can be trusted, for its kind; `model` is the model card, or null.
export function reliabilityText({ answer, predictions }, model) {
  if (answer.kind === "unknown") return "It looks most like these species, but is probably none of them:";
  if (answer.kind === "shortlist") {
    const level = model?.thresholds?.shortlist?.level;
    const frequency = level && `${Math.round(100 * level)} of 100 such lists contain the right species, if the model knows it.`;
    return ["Too close to call.", frequency].filter(Boolean).join(" ");
  }
  const { probability } = predictions[0];
  return CONFIDENCE.find(([least]) => probability >= least)[1];
}

// Return the sentence for an error that was thrown: our own are strings.
export const errorText = (error) =>
  typeof error === "string" ? error : "Something went wrong on this page. Please try again.";
