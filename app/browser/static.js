// The page without a kernel: the browser sends its requests to the function directly.

import { createPage } from "./page.js";
import { classifyPhoto, requestJson } from "./request.js";

const root = document.getElementById("fieldmark");
const api = `${root.dataset.function}/api`;

createPage(root, {
  classify: (photo, crop) => classifyPhoto(api, photo, crop),
  describeModel: () => requestJson(`${api}/model`),
});
