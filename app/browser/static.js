// The page without a kernel: the browser sends its requests to the function directly.

import { createPage } from "./page.js";
import { requestJson } from "./request.js";

const root = document.getElementById("fieldmark");
const api = `${root.dataset.function}/api`;

createPage(root, {
  classify: (photo) => requestJson(`${api}/classify?top=5&heatmap=true`, { method: "POST", body: photo }),
  describeModel: () => requestJson(`${api}/model`),
});
