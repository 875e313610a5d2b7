// `Promise` as ECMAScript has it, but with jobs that go to a queue of ours.

const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

const NATIVE = globalThis.Promise;

/**
 * Makes the class. `queue` takes jobs. `unhandled` maps every promise that is rejected while nobody listens to its reason,
 * until somebody does.
 */
export function makePromise(queue) {
  const unhandled = new Map();

  class Promise {
    #state = PENDING;
    #value;
    #reactions;
    #handled = false;

    constructor(executor) {
      if (typeof executor !== 'function') throw new TypeError('Promise resolver is not a function');
      const [resolve, reject] = this.#functions();
      try {
        executor(resolve, reject);
      } catch (error) {
        reject(error);
      }
    }

    /** A pair of functions of which one works, once. */
    #functions() {
      let done = false;
      return [
        (value) => {
          if (done) return;
          done = true;
          this.#resolve(value);
        },
        (reason) => {
          if (done) return;
          done = true;
          this.#settle(REJECTED, reason);
        },
      ];
    }

    #resolve(value) {
      if (value === null || (typeof value !== 'object' && typeof value !== 'function')) {
        this.#settle(FULFILLED, value);
        return;
      }
      if (value === this) {
        this.#settle(REJECTED, new TypeError('a promise cannot be resolved with itself'));
        return;
      }
      if (value instanceof NATIVE) {
        this.#settle(REJECTED, new TypeError('a promise that the engine made by itself never settles in a plugin'));
        return;
      }
      let then;
      try {
        then = value.then;
      } catch (error) {
        this.#settle(REJECTED, error);
        return;
      }
      if (typeof then !== 'function') {
        this.#settle(FULFILLED, value);
        return;
      }
      queue(() => {
        const [resolve, reject] = this.#functions();
        try {
          then.call(value, resolve, reject);
        } catch (error) {
          reject(error);
        }
      });
    }

    #settle(state, value) {
      this.#state = state;
      this.#value = value;
      const reactions = this.#reactions;
      this.#reactions = undefined;
      if (state === REJECTED && !this.#handled) unhandled.set(this, value);
      if (reactions !== undefined) for (const reaction of reactions) this.#react(reaction);
    }

    #react({ onFulfilled, onRejected, resolve, reject }) {
      const handler = this.#state === FULFILLED ? onFulfilled : onRejected;
      const value = this.#value;
      const pass = this.#state === FULFILLED ? resolve : reject;
      queue(() => {
        if (typeof handler !== 'function') {
          pass(value);
          return;
        }
        let answer;
        try {
          answer = handler(value);
        } catch (error) {
          reject(error);
          return;
        }
        resolve(answer);
      });
    }

    then(onFulfilled, onRejected) {
      const type = speciesOf(this);
      const { promise, resolve, reject } = capability(type);
      const reaction = { onFulfilled, onRejected, resolve, reject };
      if (!this.#handled) {
        this.#handled = true;
        if (this.#state === REJECTED) unhandled.delete(this);
      }
      if (this.#state === PENDING) (this.#reactions ??= []).push(reaction);
      else this.#react(reaction);
      return promise;
    }

    catch(onRejected) {
      return this.then(undefined, onRejected);
    }

    finally(onFinally) {
      if (typeof onFinally !== 'function') return this.then(onFinally, onFinally);
      const type = speciesOf(this);
      return this.then(
        (value) => resolved(type, onFinally()).then(() => value),
        (reason) =>
          resolved(type, onFinally()).then(() => {
            throw reason;
          }),
      );
    }

    static resolve(value) {
      return resolved(this, value);
    }

    static reject(reason) {
      const { promise, reject } = capability(this);
      reject(reason);
      return promise;
    }

    static withResolvers() {
      return capability(this);
    }

    static try(callback, ...args) {
      return new this((resolve) => resolve(callback(...args)));
    }

    static all(values) {
      return gather(this, values, (all, index, { resolve, reject }, promise) => {
        promise.then((value) => all.put(index, value, resolve), reject);
      });
    }

    static allSettled(values) {
      return gather(this, values, (all, index, { resolve }, promise) => {
        promise.then(
          (value) => all.put(index, { status: 'fulfilled', value }, resolve),
          (reason) => all.put(index, { status: 'rejected', reason }, resolve),
        );
      });
    }

    static any(values) {
      const refuse = (reject) => (errors) => reject(new AggregateError(errors, 'All promises were rejected'));
      return gather(
        this,
        values,
        (all, index, { resolve, reject }, promise) => {
          promise.then(resolve, (reason) => all.put(index, reason, refuse(reject)));
        },
        ({ reject }) => refuse(reject)([]),
      );
    }

    static race(values) {
      return gather(
        this,
        values,
        (all, index, { resolve, reject }, promise) => {
          promise.then(resolve, reject);
        },
        () => {},
      );
    }

    static get [Symbol.species]() {
      return this;
    }
  }
  Object.defineProperty(Promise.prototype, Symbol.toStringTag, { value: 'Promise', configurable: true });

  function speciesOf(promise) {
    const type = promise.constructor;
    return type === Promise ? Promise : (type?.[Symbol.species] ?? Promise);
  }

  function capability(type) {
    let resolve;
    let reject;
    const promise = new type((first, second) => {
      resolve = first;
      reject = second;
    });
    return { promise, resolve, reject };
  }

  function resolved(type, value) {
    if (value instanceof Promise && value.constructor === type) return value;
    const { promise, resolve } = capability(type);
    resolve(value);
    return promise;
  }

  /** Awaits many. `watch` is called for each; what they put becomes a list, which is given once it is full. */
  function gather(type, values, watch, whenEmpty = ({ resolve }) => resolve([])) {
    const own = capability(type);
    try {
      const list = [];
      let missing = 1;
      const all = {
        put(index, value, give) {
          list[index] = value;
          if (--missing === 0) give(list);
        },
      };
      let index = 0;
      for (const value of values) {
        missing++;
        watch(all, index++, own, type.resolve(value));
      }
      missing--;
      if (index === 0) whenEmpty(own);
    } catch (error) {
      own.reject(error);
    }
    return own.promise;
  }

  return { Promise, unhandled };
}
