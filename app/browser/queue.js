// Run tasks in order, at most `limit` at a time.

export class TaskQueue {
  #limit;
  #running = new Set();
  #waiting = [];

  constructor(limit) {
    this.#limit = limit;
  }

  // Queue an async function. Return its task: `cancel()` frees its slot at once, and the function
  // can read from `task.cancelled` that its result is not wanted any more.
  add(run) {
    const task = { run, cancelled: false };
    task.cancel = () => {
      task.cancelled = true;
      this.#release(task);
    };
    this.#waiting.push(task);
    this.#startNext();
    return task;
  }

  #release(task) {
    if (this.#running.delete(task)) this.#startNext();
  }

  #startNext() {
    while (this.#running.size < this.#limit && this.#waiting.length) {
      const task = this.#waiting.shift();
      if (task.cancelled) continue;
      this.#running.add(task);
      task.run(task).finally(() => this.#release(task));
    }
  }
}
