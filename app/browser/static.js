// Ask the function directly, without a notebook's kernel in between.

import { page } from "./page.js";

const TRIES = 4; // of a photo that comes when too many others are in hand
const LONGEST = 5; // seconds to wait before one of them
const ENOUGH = 60000; // milliseconds for an answer
const UNREACHABLE = "The model cannot be reached just now. Please try again in a minute.";
const SLOW = "The model took too long to answer. Please try again: the second try is often faster.";
const REFUSED = "This page is not allowed to ask the model: its owner has set a key for it.";

const root = document.getElementById("fieldmark");

async function asked(path, options) {
  for (let tries = 1; ; tries += 1) {
    const response = await fetched(path, options);
    const body = await response.json().catch(() => null);
    if (response.ok && body) return body;
    if ([401, 403].includes(response.status)) throw REFUSED;
    if (body?.type !== "urn:fieldmark:busy" || tries === TRIES)
      throw typeof body?.detail === "string" ? body.detail : UNREACHABLE;
    const seconds = Math.min(LONGEST, Number(response.headers.get("retry-after")) || 1);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

async function fetched(path, options) {
  try {
    const signal = AbortSignal.timeout(ENOUGH);
    return await fetch(root.dataset.function + path, { ...options, signal });
  } catch (error) {
    throw error.name === "TimeoutError" ? SLOW : UNREACHABLE;
  }
}

page(root, {
  ask: (photo) => asked("/api/classify?top=5&heatmap=true", { method: "POST", body: photo }),
  describe: () => asked("/api/model"),
});
