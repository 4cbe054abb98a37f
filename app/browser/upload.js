// Ways to add photos: pick files, take a photo, drop, paste.

import { createElement } from "./dom.js";

const ACCEPT = "image/*,.heic,.heif";
const HINT = "Or drop it here, or paste it.";

// Return the upload area; `onPhotos(files)` is called with one file or more. Drop and paste work
// anywhere on the page until `signal` aborts; `root` gets the class `over` during a drag.
export function createUpload(root, onPhotos, signal) {
  const files = fileInput({ multiple: true });
  const camera = fileInput({ capture: "environment" });
  const pick = createElement("button", { type: "button", class: "picker", onclick: () => files.click() }, "Pick a photo");
  const take = createElement("button", { type: "button", class: "picker second camera", onclick: () => camera.click() }, "Take a photo");
  const hint = createElement("p", { class: "hint" }, HINT);
  const listen = (name, listener) => document.addEventListener(name, listener, { signal });
  listen("dragover", (event) => root.classList.toggle("over", acceptsDrop(event)));
  listen("dragleave", (event) => {
    if (!event.relatedTarget) root.classList.remove("over"); // it left the window
  });
  listen("drop", (event) => {
    root.classList.remove("over");
    if (acceptsDrop(event)) add(event.dataTransfer.files);
  });
  listen("paste", (event) => add(event.clipboardData?.files));
  return {
    area: createElement("div", { class: "upload" }, pick, take, files, camera, hint),
    setHint: (text) => (hint.textContent = text || HINT),
    extendHint: (text) => (hint.textContent = `${HINT} ${text}`),
  };

  function fileInput(attributes) {
    const input = createElement("input", { type: "file", accept: ACCEPT, hidden: true, ...attributes });
    input.addEventListener("change", () => {
      add(input.files);
      input.value = ""; // so that the same photo can be picked again
    });
    return input;
  }

  function add(fileList) {
    if (!fileList?.length) return;
    pick.textContent = "Pick another photo";
    onPhotos([...fileList]);
  }

}

function acceptsDrop(event) {
  if (!event.dataTransfer?.types.includes("Files")) return false;
  event.preventDefault();
  return true;
}
