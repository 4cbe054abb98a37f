// Run tasks in order, at most `limit` at a time.

export class TaskQueue {
  #limit;
  #running = 0;
  #waiting = [];

  constructor(limit) {
    this.#limit = limit;
  }

  // Queue an async function. Return its task: `cancel()` frees its slot at once, and the function
  // can read from `task.cancelled` that its result is not wanted any more.
  add(run) {
    const task = { run, running: false, cancelled: false, cancel: () => this.#cancel(task) };
    this.#waiting.push(task);
    this.#startNext();
    return task;
  }

  #cancel(task) {
    task.cancelled = true;
    this.#waiting = this.#waiting.filter((waiting) => waiting !== task);
    this.#release(task);
  }

  #release(task) {
    if (!task.running) return;
    task.running = false;
    this.#running -= 1;
    this.#startNext();
  }

  #startNext() {
    while (this.#running < this.#limit && this.#waiting.length) this.#start(this.#waiting.shift());
  }

  async #start(task) {
    task.running = true;
    this.#running += 1;
    try {
      await task.run(task);
    } finally {
      this.#release(task);
    }
  }
}
