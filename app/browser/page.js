// The page: photos come in, each is cut, asked about and answered; nothing is lost on the way.

import { aboutView } from "./about.js";
import { answerView, heatView } from "./answer.js";
import { cropBox } from "./crop.js";
import { element } from "./dom.js";
import { cut, middle, open, refusal, whole } from "./photo.js";
import { tableView } from "./table.js";

const AT_ONCE = 2; // photos on their way to the model
const COLD = 3000; // milliseconds after which a model that hasn't spoken is still waking up
const WIDEST_ENLARGED = 240; // pixels that a small photo is enlarged to
const HIGHEST = 26; // rem
const FRAME = "M24 64V24h40M256 24h40v40M296 176v40h-40M64 216H24v-40";
const BIRD =
  "M44 190l72-46c-6-52 26-88 74-88 30 0 50 16 54 38l34 8-32 14c0 56-42 84-88 84-26 0-44-12-52-24z";

// Fill `root`. `ask(blob)` resolves to an answer, or rejects with a sentence for the visitor;
// `describe()` resolves to what the model says of itself, or rejects likewise. Returns a function
// that lets go of the document.
export function page(root, { ask, describe }) {
  let entries = [];
  let shown = null;
  let model = null;
  let learning = false;
  let underway = 0;
  const gone = new AbortController();
  const waiting = [];

  const hint = element("p", { class: "hint" });
  const photo = element("div", { class: "shown" }, emptyFrame());
  const answer = element("div", { class: "answer", "aria-live": "polite" });
  const several = element("section", { class: "several", "aria-label": "All photos", hidden: true });
  const about = element("div", {}, aboutView());
  const files = input({ multiple: true });
  const camera = input({ capture: "environment" });
  const pick = element("button", { type: "button", class: "picker", onclick: () => files.click() }, "Pick a photo");
  const take = element("button", { type: "button", class: "picker second camera", onclick: () => camera.click() }, "Take a photo");
  answer.append(element("p", { class: "quiet" }, "Your photo and its answer appear here."));
  root.append(
    element("div", { class: "give" }, pick, take, files, camera, hint),
    element("div", { class: "card" }, photo, answer),
    several,
    about,
  );
  hintAt("Or drop it here, or paste it.");
  learn();
  listen();
  return () => gone.abort();

  function input(more) {
    const accept = "image/*,.heic,.heif";
    const node = element("input", { type: "file", accept, hidden: true, ...more });
    node.addEventListener("change", () => {
      give([...node.files]);
      node.value = ""; // so that the same photo can be picked again
    });
    return node;
  }

  function hintAt(text) {
    hint.textContent = text;
  }

  async function learn() {
    learning = true;
    const cold = setTimeout(() => hintAt("The model is waking up: the first answer may take a while."), COLD);
    try {
      model = await describe();
      const count = model.labels.length;
      hintAt(`Or drop it here, or paste it. It knows ${count} species, and sees best when the bird fills the square.`);
      about.replaceChildren(aboutView(model));
    } catch (problem) {
      hintAt("Or drop it here, or paste it.");
      about.replaceChildren(aboutView(null, sentence(problem)));
    }
    clearTimeout(cold);
    learning = false;
  }

  function listen() {
    const stop = (event) => {
      if (![...(event.dataTransfer?.types || [])].includes("Files")) return false;
      event.preventDefault();
      return true;
    };
    const on = (name, heard) => document.addEventListener(name, heard, { signal: gone.signal });
    on("dragover", (event) => root.classList.toggle("over", stop(event)));
    on("dragleave", (event) => {
      if (!event.relatedTarget) root.classList.remove("over");
    });
    on("drop", (event) => {
      root.classList.remove("over");
      if (stop(event)) give([...event.dataTransfer.files]);
    });
    on("paste", (event) => {
      const pasted = [...(event.clipboardData?.files || [])];
      if (pasted.length) give(pasted);
    });
  }

  function give(chosen) {
    if (!chosen.length) return;
    pick.textContent = "Pick another photo";
    for (const entry of entries) {
      entry.leave?.();
      if (entry.image) URL.revokeObjectURL(entry.image.src);
    }
    entries = chosen.map((file) => ({ file, name: file.name || "photo" }));
    waiting.length = 0;
    show(entries[0]);
    for (const entry of entries) enqueue(entry);
  }

  function enqueue(entry) {
    entry.turn = (entry.turn || 0) + 1; // an answer to an earlier square is not shown
    entry.found = entry.problem = null;
    entry.leave?.(); // what it asked before is in nobody's way
    if (!waiting.includes(entry)) waiting.push(entry);
    refresh(entry);
    next();
  }

  function next() {
    while (underway < AT_ONCE && waiting.length) work(waiting.shift());
  }

  async function work(entry) {
    const turn = entry.turn;
    let mine = 1;
    const leave = (entry.leave = () => {
      underway -= mine;
      mine = 0;
    });
    underway += 1;
    try {
      const bytes = await prepared(entry);
      const found = bytes && (await ask(bytes));
      if (entry.turn === turn) entry.found = found;
      if (found && !model && !learning) learn();
    } catch (problem) {
      if (entry.turn === turn) Object.assign(entry, { problem: sentence(problem), again: true });
    }
    leave();
    if (entries.includes(entry)) refresh(entry);
    next();
  }

  // Return what is sent of a photo: its square, or the file itself where this browser can't read it.
  async function prepared(entry) {
    if (entry.image === undefined) {
      entry.image = await open(entry.file);
      if (entry.image) entry.crop = middle(entry.image);
      if (entry === shown) showPhoto();
    }
    if (entry.image) return cut(entry.image, entry.crop);
    entry.problem = refusal(entry.file);
    return entry.problem ? null : entry.file;
  }

  function show(entry) {
    shown = entry;
    showPhoto();
    refresh(entry);
  }

  function showPhoto() {
    const entry = shown;
    const { image, crop } = entry;
    if (!image) {
      const said = image === null ? "Your browser cannot show this kind of photo." : "";
      return photo.replaceChildren(said ? element("p", { class: "quiet" }, said) : emptyFrame());
    }
    const canvas = whole(image);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The photo you picked");
    const box = cropBox(image.naturalWidth, image.naturalHeight, crop, (moved) => {
      entry.crop = moved;
      enqueue(entry);
    });
    const frame = element("div", { class: "frame-of-photo" }, canvas, box);
    const [width, height] = [canvas.width, canvas.height];
    frame.style.width = `min(100%, ${Math.max(width, WIDEST_ENLARGED)}px, ${(HIGHEST * width) / height}rem)`;
    frame.style.aspectRatio = `${width} / ${height}`;
    photo.replaceChildren(frame);
    showHeat();
  }

  function showHeat() {
    const box = photo.querySelector(".box");
    box?.querySelector(".heat")?.remove();
    box?.classList.remove("moved");
    if (box && shown.found?.heatmap) box.prepend(heatView(shown.found.heatmap));
  }

  function refresh(entry) {
    several.hidden = entries.length < 2;
    if (!several.hidden) {
      const [place, focus] = [several.querySelector(".scrolls")?.scrollTop || 0, focused()];
      several.replaceChildren(...tableView(entries, shown, show));
      several.querySelector(".scrolls").scrollTop = place;
      several.querySelectorAll("button")[focus]?.focus({ preventScroll: true });
    }
    if (entry !== shown) return;
    showHeat();
    answer.replaceChildren(...views(entry).filter(Boolean));
  }

  function focused() {
    return [...several.querySelectorAll("button")].indexOf(document.activeElement);
  }

  function views(entry) {
    if (entry.problem) {
      const again = element("button", { type: "button", class: "second", onclick: () => enqueue(entry) }, "Try again");
      return [element("p", { class: "problem" }, entry.problem), entry.again && again];
    }
    if (!entry.found) {
      const spinner = element("span", { class: "spinner", "aria-hidden": "true" });
      return [element("p", { class: "busy" }, spinner, "Looking at your photo…")];
    }
    try {
      return [...answerView(entry.found, model), entry.found.heatmap && entry.image && heatSwitch()];
    } catch {
      return [element("p", { class: "problem" }, "The model sent an answer that this page cannot read. Please try again later.")];
    }
  }

  function heatSwitch() {
    const box = element("input", {
      type: "checkbox",
      checked: !root.classList.contains("cool"),
      onchange: () => root.classList.toggle("cool", !box.checked),
    });
    return element("p", { class: "quiet switch" }, element("label", {}, box, " Show what the model looked at"));
  }
}

const sentence = (problem) =>
  typeof problem === "string" ? problem : "Something went wrong on this page. Please try again.";

function emptyFrame() {
  const holder = element("div", { class: "empty", role: "img", "aria-label": "A bird that fills the frame" });
  const svg = (markup) => new DOMParser().parseFromString(markup, "image/svg+xml").documentElement;
  holder.append(
    svg(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240" aria-hidden="true"><path d="${FRAME}"/>
      <path class="bird" d="${BIRD}"/><circle class="eye" cx="212" cy="90" r="6"/>
      <path class="wing" d="M196 140c-10 30-40 40-70 34 16-10 22-24 26-40z"/></svg>`),
  );
  return holder;
}
