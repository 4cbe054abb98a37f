import assert from "node:assert/strict";
import test from "node:test";

import { TaskQueue } from "../../../app/browser/queue.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));

// Return a queue, a function that adds a task by its name, and the names of the tasks that started.
function createQueue(limit) {
  const queue = new TaskQueue(limit);
  const started = [];
  const add = (name, work = () => new Promise(() => {})) =>
    queue.add((task) => {
      started.push(name);
      return work(task);
    });
  return { add, started };
}

test("tasks run in order, and no more than the limit at a time", async () => {
  const { add, started } = createQueue(2);
  let finish;
  add("a", () => new Promise((resolve) => (finish = resolve)));
  for (const name of ["b", "c", "d"]) add(name);
  assert.deepEqual(started, ["a", "b"]);
  finish();
  await settled();
  assert.deepEqual(started, ["a", "b", "c"]);
});

test("a cancelled task frees its place once, even if it ends later", async () => {
  const { add, started } = createQueue(1);
  let finish;
  const task = add("a", () => new Promise((resolve) => (finish = resolve)));
  for (const name of ["b", "c"]) add(name);
  task.cancel();
  assert.ok(task.cancelled);
  assert.deepEqual(started, ["a", "b"]);
  finish();
  await settled();
  task.cancel();
  assert.deepEqual(started, ["a", "b"]);
});

test("a task that is cancelled while it waits never starts", () => {
  const { add, started } = createQueue(1);
  const running = add("a");
  add("b").cancel();
  running.cancel();
  assert.deepEqual(started, ["a"]);
});
