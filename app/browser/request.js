// Send requests to the function from the browser, as client.py does from the notebook's kernel.

import requestSettings from "./requests.json" with { type: "json" };

// Return the JSON body of a successful response; throw a sentence for the visitor otherwise.
// A request that the function is too busy for is sent again.
export async function requestJson(url, options, { send = fetch, wait = sleep } = {}) {
  const { busy_attempts, busy_max_wait_seconds, messages } = requestSettings;
  for (let attempt = 1; ; attempt += 1) {
    const response = await sendOnce(url, options, send);
    const body = await response.json().catch(() => null);
    if (response.ok && body) return body;
    if ([401, 403].includes(response.status)) throw messages.unauthorized;
    if (body?.type !== "urn:fieldmark:busy" || attempt === busy_attempts)
      throw typeof body?.detail === "string" ? body.detail : messages.unreachable;
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
