import assert from "node:assert/strict";
import test from "node:test";

import { classifyPhoto, requestJson } from "../../../app/browser/request.js";
import settings from "../../../app/browser/requests.json" with { type: "json" };

const json = (body, status = 200, headers = {}) => new Response(JSON.stringify(body), { status, headers });
const busy = (seconds) => json({ type: "urn:fieldmark:busy", detail: "Busy." }, 503, { "retry-after": seconds });

// Send a request to a function that returns each of `responses`; return its body or error, and the waits.
async function request(...responses) {
  const waits = [];
  const send = async () => {
    const response = responses.shift();
    if (response instanceof Error) throw response;
    return response;
  };
  const outcome = requestJson("/api/model", {}, { send, wait: async (seconds) => waits.push(seconds) });
  return { body: await outcome.catch((error) => error), waits, left: responses.length };
}

test("the body of a successful response is returned", async () => {
  assert.deepEqual((await request(json({ labels: [] }))).body, { labels: [] });
});

test("a busy function is tried again after the time that it names", async () => {
  const { body, waits } = await request(busy("1"), busy("60"), json({ labels: [] }));
  assert.deepEqual(body, { labels: [] });
  assert.deepEqual(waits, [1, settings.busy_max_wait_seconds]);
});

test("a function that looks for no birds is asked for the middle square", async () => {
  const urls = [];
  const send = async (url) => {
    urls.push(url);
    return url.includes("crop") ? json({ type: "urn:fieldmark:invalid-query", detail: "No." }, 422) : json({ answer: 1 });
  };
  assert.deepEqual(await classifyPhoto("/api", "photo", "auto", { send }), { answer: 1 });
  assert.deepEqual(urls.map((url) => new URL(url, "http://host").searchParams.get("birds")), ["all", null]);
  await assert.rejects(classifyPhoto("/api", "photo", "9,9,9,9", { send }), (error) => error === "No.");
});

test("a function that stays busy is reported after the last attempt", async () => {
  const { body, left } = await request(...Array.from({ length: 9 }, () => busy("1")));
  assert.equal(body, "Busy.");
  assert.equal(left, 9 - settings.busy_attempts);
});

test("each failure gets a sentence", async () => {
  const { messages } = settings;
  const timeout = Object.assign(new Error(), { name: "TimeoutError" });
  for (const [response, sentence] of [
    [json({}, 401), messages.unauthorized],
    [json({ detail: "Not a photo." }, 415), "Not a photo."],
    [new Response("<html>", { status: 502 }), messages.unreachable],
    [new TypeError("network"), messages.unreachable],
    [timeout, messages.timeout],
  ])
    assert.equal((await request(response)).body, sentence);
});
