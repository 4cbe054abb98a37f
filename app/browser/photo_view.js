// The selected photo with its crop box and heat map, or a placeholder.

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

// Return the view of an entry; `onCrop(crop)` is called when the visitor moved the square.
// `entry.image` is undefined before the file is decoded, and null if it can't be.
export function photoView({ image, crop, result }, onCrop) {
  if (image === null) return createElement("p", { class: "quiet" }, "Your browser cannot show this kind of photo.");
  if (!image) return placeholder();
  const canvas = drawPhoto(image);
  const { width, height } = canvas;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The photo you picked");
  const box = createCropBox(image.naturalWidth, image.naturalHeight, crop, onCrop);
  const frame = createElement("div", { class: "photo-frame" }, canvas, box);
  frame.style.width = `min(100%, ${Math.max(width, MIN_WIDTH)}px, ${(MAX_HEIGHT * width) / height}rem)`;
  frame.style.aspectRatio = `${width} / ${height}`;
  showHeatmap(frame, result?.heatmap);
  return frame;
}

// Replace the heat map over the square; `heatmap` may be missing.
export function showHeatmap(view, heatmap) {
  const box = view.querySelector(".box");
  box?.querySelector(".heatmap")?.remove();
  box?.classList.remove("moved");
  if (box && heatmap) box.prepend(heatmapView(heatmap));
}

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
