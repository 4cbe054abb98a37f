// The page as an anywidget: its requests go through the notebook's kernel.

import { createPage } from "./page.js";

const RESPONSE_TIMEOUT = 90000; // milliseconds; the kernel itself gives up earlier
const DISCONNECTED = "The page has lost its connection. Please reload it.";

function render({ model: widget, el }) {
  const pending = new Map();
  let lastId = 0;

  const request = (content, buffers) =>
    new Promise((resolve, reject) => {
      if (document.body.dataset.disconnected) return reject(DISCONNECTED);
      const id = (lastId += 1);
      setTimeout(() => settle({ id, error: DISCONNECTED }), RESPONSE_TIMEOUT);
      pending.set(id, { resolve, reject });
      widget.send({ ...content, id }, undefined, buffers);
    });

  function settle({ id, result, error }) {
    const promise = pending.get(id);
    pending.delete(id);
    if (error) promise?.reject(error);
    else promise?.resolve(result);
  }

  widget.on("msg:custom", settle);
  return createPage(el, {
    classify: async (photo) => request({ request: "classify" }, [await photo.arrayBuffer()]),
    describeModel: () => request({ request: "model" }),
  });
}

export default { render };
