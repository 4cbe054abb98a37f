// Send requests to the function from the browser, as client.py does from the notebook's kernel.

import requestSettings from "./requests.json" with { type: "json" };

// Return the function's response for a photo. `crop` says where the bird is: `auto` to look for all
// birds, `center` for the middle square, or left, top, width and height of a square.
// A function that does not know `crop` yet takes the middle square.
export async function classifyPhoto(api, photo, crop, tools) {
  const url = `${api}/classify?top=5&heatmap=true`;
  const options = { method: "POST", body: photo };
  const search = crop === "auto" ? "&crop=auto&birds=all" : `&crop=${crop}`;
  const reply = await sendUntilNotBusy(url + search, options, tools);
  const isOlder = reply.body?.type === "urn:fieldmark:invalid-query" && ["auto", "center"].includes(crop);
  return usableBody(isOlder ? await sendUntilNotBusy(url, options, tools) : reply);
}

// Return the JSON body of a successful response; throw a sentence for the visitor otherwise.
export const requestJson = async (url, options, tools) => usableBody(await sendUntilNotBusy(url, options, tools));

function usableBody({ response, body }) {
  const { messages } = requestSettings;
  if (response.ok && body) return body;
  if ([401, 403].includes(response.status)) throw messages.unauthorized;
  throw typeof body?.detail === "string" ? body.detail : messages.unreachable;
}

// Return a response and its JSON body, null if it has none. A request that the function is too busy
// for is sent again.
async function sendUntilNotBusy(url, options, { send = fetch, wait = sleep } = {}) {
  const { busy_attempts, busy_max_wait_seconds } = requestSettings;
  for (let attempt = 1; ; attempt += 1) {
    const response = await sendOnce(url, options, send);
    const body = await response.json().catch(() => null);
    if (body?.type !== "urn:fieldmark:busy" || attempt === busy_attempts) return { response, body };
    await wait(Math.min(busy_max_wait_seconds, Number(response.headers.get("retry-after")) || 1));
  }
}

async function sendOnce(url, options, send) {
  const { timeout_seconds, messages } = requestSettings;
  try {
    return await send(url, { ...options, signal: AbortSignal.timeout(1000 * timeout_seconds) });
  } catch (error) {
    throw error.name === "TimeoutError" ? messages.timeout : messages.unreachable;
  }
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
