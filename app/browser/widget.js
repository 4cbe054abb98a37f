// Carry photos to the notebook's kernel and answers back: anywidget's way to show the page.

import { page } from "./page.js";

const PATIENCE = 90000; // milliseconds
const LOST = "The page has lost its connection. Please load it anew.";

function render({ model: widget, el }) {
  const open = new Map();
  let next = 0;

  const send = (content, buffers) =>
    new Promise((resolve, reject) => {
      if (document.body.dataset.lost) return reject(LOST);
      const id = next++;
      const lost = setTimeout(() => settle(id, () => reject(LOST)), PATIENCE);
      open.set(id, { resolve, reject, lost });
      widget.send({ ...content, id }, undefined, buffers);
    });
  const settle = (id, how) => {
    clearTimeout(open.get(id)?.lost);
    how(open.get(id));
    open.delete(id);
  };

  widget.on("msg:custom", ({ id, answer, problem }) => {
    if (!open.has(id)) return;
    settle(id, ({ resolve, reject }) => (problem ? reject(problem) : resolve(answer)));
  });
  return page(el, {
    ask: async (photo) => send({ ask: "classify" }, [await photo.arrayBuffer()]),
    describe: () => send({ ask: "model" }),
  });
}

export default { render };
