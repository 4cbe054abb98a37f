// The square over a photo that the model sees: to be dragged, resized, or moved by the keyboard.

import { element } from "./dom.js";

const STEP = 0.03; // of the photo's shorter side, for a press of a key
const LEAST = 0.1; // likewise, the smallest square
const HELP =
  "The square that the model sees. Arrow keys move it, plus and minus change its size.";

// Keep a square within a photo.
export function within(crop, width, height) {
  const short = Math.min(width, height);
  const side = Math.round(Math.min(short, Math.max(LEAST * short, crop.side)));
  const inside = (place, extent) => Math.round(Math.min(Math.max(0, place), extent - side));
  return { left: inside(crop.left, width), top: inside(crop.top, height), side };
}

// Return the box for a photo `width` by `height`; `changed(crop)` is called when it rests.
export function cropBox(width, height, start, changed) {
  let crop = start;
  let resting;
  const handle = element("span", { class: "handle", "aria-hidden": "true" });
  const box = element("div", { class: "box", tabindex: 0, role: "group", "aria-label": HELP }, handle);
  const place = () => {
    box.style.left = `${(100 * crop.left) / width}%`;
    box.style.top = `${(100 * crop.top) / height}%`;
    box.style.width = `${(100 * crop.side) / width}%`;
    box.style.height = `${(100 * crop.side) / height}%`;
  };
  const move = (wanted, patience) => {
    const next = within(wanted, width, height);
    if (next.left === crop.left && next.top === crop.top && next.side === crop.side) return;
    crop = next;
    place();
    box.classList.add("moved"); // what the model looked at was another square
    clearTimeout(resting);
    if (patience != null) resting = setTimeout(() => box.isConnected && changed(crop), patience);
  };

  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    box.focus({ preventScroll: true });
    box.setPointerCapture(event.pointerId);
    const sizing = event.target === handle;
    const begun = crop;
    const scale = width / box.parentElement.clientWidth;
    const drag = (to) => {
      const right = (to.clientX - event.clientX) * scale;
      const down = (to.clientY - event.clientY) * scale;
      if (sizing) {
        const room = Math.min(width - begun.left, height - begun.top);
        move({ ...begun, side: Math.min(room, begun.side + Math.max(right, down)) });
      } else move({ ...begun, left: begun.left + right, top: begun.top + down });
    };
    const drop = () => {
      box.removeEventListener("pointermove", drag);
      if (crop !== begun) changed(crop);
    };
    box.addEventListener("pointermove", drag);
    box.addEventListener("lostpointercapture", drop, { once: true });
  });

  box.addEventListener("keydown", (event) => {
    const step = STEP * Math.min(width, height);
    const { left, top, side } = crop;
    const grown = (by) => ({ left: left - by / 2, top: top - by / 2, side: side + by });
    const wanted = {
      ArrowLeft: { left: left - step, top, side },
      ArrowRight: { left: left + step, top, side },
      ArrowUp: { left, top: top - step, side },
      ArrowDown: { left, top: top + step, side },
      "+": grown(2 * step),
      "=": grown(2 * step),
      "-": grown(-2 * step),
    }[event.key];
    if (!wanted || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(wanted, 400);
  });

  place();
  return box;
}
