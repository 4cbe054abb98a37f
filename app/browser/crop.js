// The square of a photo that the model uses: drag it, resize it, or move it with the keyboard.

import { createElement } from "./dom.js";

const KEY_STEP = 0.03; // of the photo's shorter side
const MIN_SIDE = 0.1; // of the photo's shorter side
const KEY_DELAY = 400; // milliseconds after the last key until the square is used
const HELP = "The square that the model uses. Arrow keys move it, plus and minus resize it.";

// Return the largest square in the middle of a photo: left, top and side in pixels.
export function largestCentredSquare(width, height) {
  const side = Math.min(width, height);
  return { left: Math.round((width - side) / 2), top: Math.round((height - side) / 2), side };
}

// Return the square nearest to `crop` that lies within a photo.
export function clampSquare(crop, width, height) {
  const shorter = Math.min(width, height);
  const side = Math.round(Math.min(shorter, Math.max(MIN_SIDE * shorter, crop.side)));
  const clamp = (offset, extent) => Math.round(Math.min(Math.max(0, offset), extent - side));
  return { left: clamp(crop.left, width), top: clamp(crop.top, height), side };
}

// Return the square that a key press asks for; undefined for any other key.
export function squareAfterKey(key, { left, top, side }, step) {
  const resized = (change) => ({ left: left - change / 2, top: top - change / 2, side: side + change });
  return {
    ArrowLeft: { left: left - step, top, side },
    ArrowRight: { left: left + step, top, side },
    ArrowUp: { left, top: top - step, side },
    ArrowDown: { left, top: top + step, side },
    "+": resized(2 * step),
    "=": resized(2 * step),
    "-": resized(-2 * step),
  }[key];
}

// Return the box over a photo of `width` x `height`; `onChange(crop)` is called when it is released.
export function createCropBox(width, height, initial, onChange) {
  let crop = initial;
  let keyTimer;
  const handle = createElement("span", { class: "handle", "aria-hidden": "true" });
  const box = createElement("div", { class: "box", tabindex: 0, role: "group", "aria-label": HELP }, handle);
  box.addEventListener("pointerdown", startDrag);
  box.addEventListener("keydown", moveByKey);
  applyStyle();
  return box;

  function applyStyle() {
    box.style.left = `${(100 * crop.left) / width}%`;
    box.style.top = `${(100 * crop.top) / height}%`;
    box.style.width = `${(100 * crop.side) / width}%`;
    box.style.height = `${(100 * crop.side) / height}%`;
  }

  function setCrop(wanted) {
    const next = clampSquare(wanted, width, height);
    if (next.left === crop.left && next.top === crop.top && next.side === crop.side) return false;
    crop = next;
    applyStyle();
    box.classList.add("moved"); // hides the heat map, which belongs to the previous square
    clearTimeout(keyTimer);
    return true;
  }

  function startDrag(event) {
    if (event.button) return;
    event.preventDefault();
    box.focus({ preventScroll: true });
    box.setPointerCapture(event.pointerId);
    const start = crop;
    const scale = width / box.parentElement.clientWidth;
    const drag = ({ clientX, clientY }) => {
      const right = (clientX - event.clientX) * scale;
      const down = (clientY - event.clientY) * scale;
      if (event.target !== handle) setCrop({ ...start, left: start.left + right, top: start.top + down });
      else {
        const room = Math.min(width - start.left, height - start.top);
        setCrop({ ...start, side: Math.min(room, start.side + Math.max(right, down)) });
      }
    };
    const release = () => {
      box.removeEventListener("pointermove", drag);
      if (crop !== start) onChange(crop);
    };
    box.addEventListener("pointermove", drag);
    box.addEventListener("lostpointercapture", release, { once: true });
  }

  function moveByKey(event) {
    const wanted = squareAfterKey(event.key, crop, KEY_STEP * Math.min(width, height));
    if (!wanted || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (setCrop(wanted)) keyTimer = setTimeout(() => box.isConnected && onChange(crop), KEY_DELAY);
  }
}
