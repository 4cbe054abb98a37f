// The selected photo with its birds, square and heat map, or a placeholder.

import { birdButtons } from "./birds.js";
import { createCropBox } from "./crop.js";
import { createElement, createSvg } from "./dom.js";
import { heatmapView } from "./heatmap.js";
import { drawPhoto } from "./photo.js";

const MIN_WIDTH = 240; // pixels to which a small photo is enlarged
const MAX_HEIGHT = 26; // rem
const FRAME = "M24 64V24h40M256 24h40v40M296 176v40h-40M64 216H24v-40";
const BIRD =
  "M44 190l72-46c-6-52 26-88 74-88 30 0 50 16 54 38l34 8-32 14c0 56-42 84-88 84-26 0-44-12-52-24z";
const WING = "M196 140c-10 30-40 40-70 34 16-10 22-24 26-40z";

// Return the element that shows an entry, and `update()` for when the entry changed. The visitor calls
// `onMove(square)` by moving the square, `onSelect(bird)` by selecting a bird.
export function photoView(entry, { onMove, onSelect }) {
  const { image } = entry;
  if (!image) return { element: image === null ? noPicture() : placeholder(), update() {} };
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = drawPhoto(image);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The photo you picked");
  const { box, moveTo } = createCropBox(width, height, { onChange: onMove, onTap: selectBelow });
  const frame = createElement("div", { class: "photo-frame" }, canvas, box);
  frame.style.width = `min(100%, ${Math.max(canvas.width, MIN_WIDTH)}px, ${(MAX_HEIGHT * width) / height}rem)`;
  frame.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  let buttons = [];
  let shown = {};
  update();
  return { element: frame, update };

  function update() {
    const { birds, bird, square, result } = entry;
    if (birds !== shown.birds) {
      for (const button of buttons) button.remove();
      buttons = birdButtons(birds, width, height, onSelect);
      canvas.after(...buttons);
    }
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", birds[index] === bird));
    if (square !== shown.square) moveTo(square);
    box.querySelector(".heatmap")?.remove();
    if (result?.heatmap) box.prepend(heatmapView(result.heatmap));
    shown = { birds, square };
  }

  // Select the bird below the square at a point of the window, if there is one.
  function selectBelow(x, y) {
    const below = document.elementsFromPoint(x, y);
    buttons.find((button) => below.includes(button))?.click();
  }
}

const noPicture = () => createElement("p", { class: "quiet" }, "Your browser cannot show this kind of photo.");

export function placeholder() {
  const attributes = { class: "placeholder", role: "img", "aria-label": "A bird that fills the frame" };
  const picture = createSvg(
    "svg",
    { viewBox: "0 0 320 240", "aria-hidden": "true" },
    createSvg("path", { d: FRAME }),
    createSvg("path", { class: "bird", d: BIRD }),
    createSvg("circle", { class: "eye", cx: 212, cy: 90, r: 6 }),
    createSvg("path", { class: "wing", d: WING }),
  );
  return createElement("div", attributes, picture);
}
