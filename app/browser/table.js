// Several photos: a row for each, and a CSV file of all.

import { createElement } from "./dom.js";
import { displayName, formatPercent } from "./format.js";

const CSV_COLUMNS = ["file", "kind", "label", "scientific_name", "probability", "most_similar", "text"];

// Return a CSV file after RFC 4180, with a row for each photo; no cell can be read as a formula.
// An unknown bird has no label and no probability, only the known species most similar to it.
export function toCsv(entries) {
  const rows = entries.map(({ name, result, error }) => {
    if (!result) return [name, "problem", "", "", "", "", error || "no result yet"];
    const { kind, text } = result.answer;
    const { label, scientific_name, probability } = result.predictions[0];
    return kind === "unknown"
      ? [name, kind, "", "", "", label, text]
      : [name, kind, label, scientific_name, probability.toFixed(4), "", text];
  });
  return [CSV_COLUMNS, ...rows].map((row) => row.map(csvCell).join(",") + "\r\n").join("");
}

function csvCell(value) {
  const text = String(value ?? "").replace(/^(?=[=+\-@\t\r])/, "'");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Return the elements of the table; `onSelect(entry)` is called when a photo is chosen.
export function tableView(entries, selected, onSelect) {
  const done = entries.filter((entry) => entry.result || entry.error).length;
  const complete = done === entries.length;
  const title = complete ? `${done} photos` : `${done} of ${entries.length} photos`;
  const headers = ["Photo", "Bird", "Probability"].map((text) => createElement("th", { scope: "col" }, text));
  const rows = entries.map((entry) => tableRow(entry, entry === selected, onSelect));
  const head = createElement("thead", {}, createElement("tr", {}, headers));
  const table = createElement("table", {}, head, createElement("tbody", {}, rows));
  const button = { type: "button", class: "second", disabled: !complete, onclick: () => download(toCsv(entries)) };
  return [
    createElement("h2", {}, title),
    createElement("div", { class: "scrolls" }, table),
    createElement("button", button, "Download as CSV"),
  ];
}

function tableRow(entry, selected, onSelect) {
  const [bird, probability] = birdAndProbability(entry);
  const button = { type: "button", class: "plain", onclick: () => onSelect(entry) };
  return createElement(
    "tr",
    { "aria-current": selected && "true" },
    createElement("th", { scope: "row" }, createElement("button", button, entry.name)),
    createElement("td", { class: entry.error && "problem" }, bird),
    createElement("td", { class: "percent" }, probability),
  );
}

// Return what a row says of a photo: its likeliest species with the probability, or why not.
export function birdAndProbability({ result, error, foundNone, moved }) {
  if (!result) return [error || "…", ""];
  if (result.answer.kind === "unknown") return [foundNone && !moved ? "No bird found" : "Unknown", ""];
  return [displayName(result.predictions[0]), formatPercent(result.predictions[0].probability)];
}

function download(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  createElement("a", { href: url, download: "birds.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
