// The page: photos are added, cropped, classified and shown; a failed one can be tried again.

import { aboutView } from "./about.js";
import { largestCentredSquare } from "./crop.js";
import { createElement } from "./dom.js";
import { errorText } from "./format.js";
import { cropToBlob, decodePhoto, rejectionText } from "./photo.js";
import { photoView, placeholder, showHeatmap } from "./photo_view.js";
import { TaskQueue } from "./queue.js";
import requestSettings from "./requests.json" with { type: "json" };
import { resultView } from "./result.js";
import { tableView } from "./table.js";
import { createUpload } from "./upload.js";

const CONCURRENT_PHOTOS = 2;
const COLD_START = 3000; // milliseconds without a response after which the model is starting

// Build the page in `root` and return a function that detaches it from the document.
// `classify(blob)` and `describeModel()` return promises of the function's responses; they reject
// with a sentence for the visitor.
export function createPage(root, { classify, describeModel }) {
  let entries = []; // { file, name, image, crop, task, result, error, retriable }
  let selected = null;
  let model = null;
  let modelRequested = false;
  const queue = new TaskQueue(CONCURRENT_PHOTOS);
  const detached = new AbortController();

  const upload = createUpload(root, addPhotos, detached.signal);
  const photo = createElement("div", {}, placeholder());
  const answer = createElement("div", { class: "answer", "aria-live": "polite" });
  const table = createElement("section", { class: "several", "aria-label": "All photos", hidden: true });
  const about = createElement("div", {}, aboutView());
  answer.append(createElement("p", { class: "quiet" }, "Your photo and the result appear here."));
  root.append(upload.area, createElement("div", { class: "card" }, photo, answer), table, about);
  loadModelCard();
  return () => detached.abort();

  async function loadModelCard() {
    modelRequested = true;
    const timer = setTimeout(() => upload.setHint("The model is starting: the first result may take a while."), COLD_START);
    try {
      model = await describeModel();
      upload.extendHint(`The model knows ${model.labels.length} species. It works best when the bird fills the square.`);
      about.replaceChildren(aboutView(model));
    } catch (error) {
      upload.setHint();
      about.replaceChildren(aboutView(null, errorText(error)));
    }
    clearTimeout(timer);
    modelRequested = false;
  }

  function addPhotos(files) {
    for (const entry of entries) {
      entry.task.cancel();
      if (entry.image) URL.revokeObjectURL(entry.image.src);
    }
    entries = files.map((file) => ({ file, name: file.name || "photo" }));
    select(entries[0]);
    entries.forEach(enqueue);
  }

  function enqueue(entry) {
    entry.result = entry.error = null;
    entry.task?.cancel();
    entry.task = queue.add((task) => classifyEntry(entry, task));
    refresh(entry);
  }

  async function classifyEntry(entry, task) {
    const outcome = {};
    try {
      const blob = await prepareUpload(entry);
      if (task.cancelled) return;
      if (blob) outcome.result = await classify(blob);
      else outcome.error = rejectionText(entry.file);
    } catch (error) {
      Object.assign(outcome, { error: errorText(error), retriable: true });
    }
    if (outcome.result && !model && !modelRequested) loadModelCard();
    if (task.cancelled) return; // the square was moved, or other photos were added
    Object.assign(entry, { retriable: false }, outcome);
    refresh(entry);
  }

  // Return the cropped square, or the file itself if only the function may be able to decode it.
  async function prepareUpload(entry) {
    if (entry.image === undefined) {
      entry.image = await decodePhoto(entry.file);
      if (entry.image) entry.crop = largestCentredSquare(entry.image.naturalWidth, entry.image.naturalHeight);
      if (entry === selected) showPhoto();
    }
    if (entry.image) return cropToBlob(entry.image, entry.crop);
    return rejectionText(entry.file) ? null : entry.file;
  }

  function select(entry) {
    selected = entry;
    showPhoto();
    refresh(entry);
  }

  function showPhoto() {
    const entry = selected;
    const onCrop = (crop) => enqueue(Object.assign(entry, { crop }));
    photo.replaceChildren(photoView(entry, onCrop));
  }

  function refresh(entry) {
    refreshTable();
    if (entry !== selected) return;
    showHeatmap(photo, entry.result?.heatmap);
    answer.replaceChildren(...answerViews(entry).filter(Boolean));
  }

  function refreshTable() {
    table.hidden = entries.length < 2;
    if (table.hidden) return;
    const scrollTop = table.querySelector(".scrolls")?.scrollTop || 0;
    const focused = [...table.querySelectorAll("button")].indexOf(document.activeElement);
    table.replaceChildren(...tableView(entries, selected, select));
    table.querySelector(".scrolls").scrollTop = scrollTop;
    table.querySelectorAll("button")[focused]?.focus({ preventScroll: true });
  }

  function answerViews(entry) {
    if (entry.error) {
      const retry = { type: "button", class: "second", onclick: () => enqueue(entry) };
      return [errorView(entry.error), entry.retriable && createElement("button", retry, "Try again")];
    }
    if (!entry.result) {
      const spinner = createElement("span", { class: "spinner", "aria-hidden": "true" });
      return [createElement("p", { class: "busy" }, spinner, "Identifying the bird…")];
    }
    try {
      return [...resultView(entry.result, model), entry.result.heatmap && entry.image && heatmapSwitch()];
    } catch {
      return [errorView(requestSettings.messages.unreadable)];
    }
  }

  function heatmapSwitch() {
    const checkbox = createElement("input", { type: "checkbox", checked: !root.classList.contains("without-heatmap") });
    checkbox.onchange = () => root.classList.toggle("without-heatmap", !checkbox.checked);
    return createElement("p", { class: "quiet switch" }, createElement("label", {}, checkbox, " Outline what mattered most to the model"));
  }
}

const errorView = (text) => createElement("p", { class: "problem" }, text);
