// Several photos: a row each, and all of them as a CSV file.

import { nameOf } from "./answer.js";
import { element, percent, unbroken } from "./dom.js";

const COLUMNS = ["file", "kind", "label", "scientific_name", "probability", "text"];

// Return the rows of a CSV file as RFC 4180 has it; no cell is taken for a formula.
export function csv(entries) {
  const cell = (value) => {
    const text = String(value ?? "").replace(/^(?=[=+\-@\t\r])/, "'");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = entries.map(({ name, found, problem }) => {
    if (!found) return [name, "problem", "", "", "", problem || "no answer yet"];
    const { label, scientific_name, probability } = found.predictions[0];
    return [name, found.answer.kind, label, scientific_name, probability.toFixed(4), found.answer.text];
  });
  return [COLUMNS, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

// Return the table; `show(entry)` is called for the photo that a visitor wants to see.
export function tableView(entries, shown, show) {
  const done = entries.filter((entry) => entry.found || entry.problem).length;
  const rows = entries.map((entry) => {
    const name = element("button", { type: "button", class: "plain", onclick: () => show(entry) }, entry.name);
    const first = entry.found?.predictions[0];
    const known = entry.found && entry.found.answer.kind !== "unknown";
    const said = known ? nameOf(first) : entry.found ? "I don't know" : entry.problem || "…";
    return element(
      "tr",
      { "aria-current": entry === shown && "true" },
      element("th", { scope: "row" }, name),
      element("td", { class: entry.problem && "problem" }, said),
      element("td", { class: "percent" }, known ? percent(first.probability) : ""),
    );
  });
  const save = element("button", { type: "button", class: "second", disabled: done < entries.length, onclick: () => download(csv(entries)) }, "Download as CSV");
  return [
    element("h2", {}, unbroken(done < entries.length ? `${done} of ${entries.length} photos` : `${entries.length} photos`)),
    element(
      "div",
      { class: "scrolls" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ["Photo", "Bird", "How sure"].map((title) => element("th", { scope: "col" }, title)))),
        element("tbody", {}, rows),
      ),
    ),
    save,
  ];
}

function download(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: "birds.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
