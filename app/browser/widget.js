// The page as an anywidget: its requests go through the notebook's kernel.

import { createPage } from "./page.js";

const RESPONSE_TIMEOUT = 90000; // milliseconds; the kernel itself gives up earlier
const PART_SIZE = 2 ** 20; // bytes of a photo in one message; the page's server accepts no more
const DISCONNECTED = "The page has lost its connection. Please reload it.";

function render({ model: widget, el }) {
  const pending = new Map();
  let lastId = 0;

  const request = (content, buffers, id = (lastId += 1)) =>
    new Promise((resolve, reject) => {
      if (document.body.dataset.disconnected) return reject(DISCONNECTED);
      setTimeout(() => settle({ id, error: DISCONNECTED }), RESPONSE_TIMEOUT);
      pending.set(id, { resolve, reject });
      widget.send({ ...content, id }, undefined, buffers);
    });

  // Send a photo in parts, of which the last one gets the response.
  async function classify(photo, crop) {
    const data = await photo.arrayBuffer();
    const id = (lastId += 1);
    let offset = 0;
    for (; data.byteLength - offset > PART_SIZE; offset += PART_SIZE)
      widget.send({ request: "part", offset, id }, undefined, [data.slice(offset, offset + PART_SIZE)]);
    return request({ request: "classify", crop, offset }, [data.slice(offset)], id);
  }

  function settle({ id, result, error }) {
    const promise = pending.get(id);
    pending.delete(id);
    if (error) promise?.reject(error);
    else promise?.resolve(result);
  }

  widget.on("msg:custom", settle);
  return createPage(el, {
    classify,
    describeModel: () => request({ request: "model" }),
  });
}

export default { render };
