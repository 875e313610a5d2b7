// About the run of this event. Every read asks the host.

import { host } from './host.js';

export const context = Object.freeze({
  get attempt() {
    return host.attempt();
  },
  get stream() {
    return host.stream();
  },
  get sequence() {
    return host.sequence();
  },
  get handler() {
    return host.handler();
  },
  get correlation() {
    return host.correlation();
  },
  get deadlineMs() {
    return host.deadlineMs();
  },
});
