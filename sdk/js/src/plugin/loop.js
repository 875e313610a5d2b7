// What JavaScript does later: jobs of promises, then timers.
//
// A call of a plugin must end before its promises could run by themselves, so they are run here, within the call. Timers
// do not wait: when nothing else is left, the next one is due.

export class Loop {
  #jobs = [];
  #timers = new Map();
  #now = 0;
  #lastTimer = 0;

  /** Adds a job without arguments. */
  queue = (job) => {
    this.#jobs.push(job);
  };

  /** Runs jobs until none is left. What a job throws is thrown. */
  runJobs() {
    const jobs = this.#jobs;
    if (jobs.length === 0) return;
    for (let i = 0; i < jobs.length; i++) {
      const job = jobs[i];
      jobs[i] = undefined;
      job();
    }
    jobs.length = 0;
  }

  /** Adds a timer, which runs again and again if it has an interval. Answers with its number. */
  setTimer(callback, delayMs, args, repeats) {
    if (typeof callback !== 'function') throw new TypeError('a timer calls a function');
    const delay = Math.max(Number(delayMs) || 0, repeats ? 1 : 0);
    const id = ++this.#lastTimer;
    this.#timers.set(id, { due: this.#now + delay, callback, args, interval: repeats ? delay : undefined });
    return id;
  }

  clearTimer(id) {
    this.#timers.delete(id);
  }

  get timers() {
    return this.#timers.size;
  }

  /** Runs the timer that is due next, the older one of two. Answers whether there was one. */
  runTimer() {
    let next;
    let nextId;
    for (const [id, timer] of this.#timers) {
      if (next === undefined || timer.due < next.due) {
        next = timer;
        nextId = id;
      }
    }
    if (next === undefined) return false;
    this.#now = next.due;
    this.#timers.delete(nextId);
    if (next.interval !== undefined) this.#timers.set(nextId, { ...next, due: next.due + next.interval });
    next.callback(...next.args);
    return true;
  }

  /** Forgets everything. */
  clear() {
    this.#jobs.length = 0;
    if (this.#timers.size > 0) this.#timers.clear();
    this.#now = 0;
  }
}
