// The page: photos are added, identified and shown; a failed one can be tried again.

import { aboutView } from "./about.js";
import { answerView } from "./answer_view.js";
import { createElement } from "./dom.js";
import { PhotoEntry } from "./entry.js";
import { errorText } from "./format.js";
import { decodePhoto, photoToBlob } from "./photo.js";
import { photoView, placeholder } from "./photo_view.js";
import { TaskQueue } from "./queue.js";
import { tableView } from "./table.js";
import { createUpload } from "./upload.js";

const CONCURRENT_PHOTOS = 2;
const COLD_START = 3000; // milliseconds without a response after which the model is starting

// Build the page in `root` and return a function that detaches it from the document.
// `classify(blob, crop)` and `describeModel()` return promises of the function's responses; they
// reject with a sentence for the visitor.
export function createPage(root, { classify, describeModel }) {
  let entries = [];
  let selected = null;
  let view = null; // of the selected photo
  let model = null;
  let modelRequested = false;
  const queue = new TaskQueue(CONCURRENT_PHOTOS);
  const heatmapQueue = new TaskQueue(1);
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
      upload.extendHint(`The model knows ${model.labels.length} species. If the square misses the bird, move it there.`);
      about.replaceChildren(aboutView(model));
    } catch (error) {
      upload.setHint();
      about.replaceChildren(aboutView(null, errorText(error)));
    }
    clearTimeout(timer);
    modelRequested = false;
  }

  function addPhotos(files) {
    for (const entry of entries) entry.discard();
    entries = files.map((file) => new PhotoEntry(file));
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
    try {
      if (entry.image === undefined) await decode(entry);
      if (entry.rejection) entry.fail(entry.rejection, false);
      else {
        const { blob, crop } = await entry.upload();
        if (task.cancelled) return;
        const response = await classify(blob, crop);
        if (task.cancelled) return; // the square was moved, or other photos were added
        entry.accept(response);
      }
    } catch (error) {
      if (task.cancelled) return;
      entry.fail(errorText(error), true);
    }
    if (entry.result && !model && !modelRequested) loadModelCard();
    refresh(entry);
  }

  async function decode(entry) {
    entry.image = await decodePhoto(entry.file);
    if (entry === selected) showPhoto();
  }

  function selectBird(entry, bird) {
    entry.task.cancel();
    entry.select(bird);
    refresh(entry);
    requestHeatmap(entry, bird);
  }

  // The response for several birds has the heat map of the first one only. One is requested at a time.
  function requestHeatmap(entry, bird) {
    heatmapQueue.add(() => loadHeatmap(entry, bird));
  }

  async function loadHeatmap(entry, bird) {
    const isShown = () => entry === selected && entry.bird === bird;
    if (!isShown() || bird.result.heatmap || !entry.birds[0].result.heatmap) return;
    try {
      const { predictions, heatmap } = await classify(await photoToBlob(entry.image), bird.crop.join(","));
      if (predictions[0].label === bird.result.predictions[0].label) bird.result.heatmap = heatmap;
    } catch {
      return; // the bird is shown without its heat map
    }
    if (isShown()) view.update();
  }

  function select(entry) {
    selected = entry;
    showPhoto();
    refresh(entry);
    if (entry.bird) requestHeatmap(entry, entry.bird);
  }

  function showPhoto() {
    const entry = selected;
    view = photoView(entry, {
      onMove: (square) => enqueue(entry.moveSquare(square)),
      onSelect: (bird) => selectBird(entry, bird),
    });
    photo.replaceChildren(view.element);
  }

  function refresh(entry) {
    refreshTable();
    if (entry !== selected) return;
    view.update();
    answer.replaceChildren(...answerView(entry, model, root, () => enqueue(entry)));
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
}
