// The square of a photo that the model uses: drag it, resize it, or move it with the keyboard.

import { createElement } from "./dom.js";
import { clampSquare, isSameSquare, squareAfterKey } from "./square.js";

const KEY_STEP = 0.03; // of the photo's shorter side
const KEY_DELAY = 400; // milliseconds after the last key until the square is used
const HELP = "The square that the model uses. Arrow keys move it, plus and minus resize it.";

// Return the box over a photo of `width` x `height` pixels, and `moveTo(square)`, which hides it
// for null. `onChange(square)` is called when the visitor releases it at another place, `onTap(x, y)`
// when it is pressed and not moved.
export function createCropBox(width, height, { onChange, onTap }) {
  let square = null;
  let keyTimer;
  const handle = createElement("span", { class: "handle", "aria-hidden": "true" });
  const attributes = { class: "box", tabindex: 0, role: "group", "aria-label": HELP, hidden: true };
  const box = createElement("div", attributes, handle);
  box.addEventListener("pointerdown", startDrag);
  box.addEventListener("keydown", moveByKey);
  return { box, moveTo };

  function moveTo(next) {
    clearTimeout(keyTimer);
    square = next;
    box.hidden = !square;
    box.classList.remove("moved");
    if (square) applyStyle();
  }

  function applyStyle() {
    box.style.left = `${(100 * square.left) / width}%`;
    box.style.top = `${(100 * square.top) / height}%`;
    box.style.width = `${(100 * square.side) / width}%`;
    box.style.height = `${(100 * square.side) / height}%`;
  }

  function setSquare(wanted) {
    const next = clampSquare(wanted, width, height);
    if (isSameSquare(next, square)) return false;
    square = next;
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
    const start = square;
    const scale = width / box.parentElement.clientWidth;
    const drag = ({ clientX, clientY }) => {
      const right = (clientX - event.clientX) * scale;
      const down = (clientY - event.clientY) * scale;
      if (event.target !== handle) setSquare({ ...start, left: start.left + right, top: start.top + down });
      else {
        const room = Math.min(width - start.left, height - start.top);
        setSquare({ ...start, side: Math.min(room, start.side + Math.max(right, down)) });
      }
    };
    const release = () => {
      box.removeEventListener("pointermove", drag);
      if (square === start) onTap(event.clientX, event.clientY);
      else if (square) onChange(square);
    };
    box.addEventListener("pointermove", drag);
    box.addEventListener("lostpointercapture", release, { once: true });
  }

  function moveByKey(event) {
    const wanted = squareAfterKey(event.key, square, KEY_STEP * Math.min(width, height));
    if (!wanted || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (setSquare(wanted)) keyTimer = setTimeout(() => box.isConnected && onChange(square), KEY_DELAY);
  }
}
