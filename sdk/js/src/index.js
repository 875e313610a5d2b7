// Handlers for Heddle in JavaScript and TypeScript. What is exported here is documented in `index.d.ts`.

export * as config from './config.js';
export { context } from './context.js';
export { publish, reply } from './effects.js';
export { ConfigError, DecodeError, Defer, EffectError, Failure, Reject, Retry } from './errors.js';
export { Event } from './event.js';
export * as log from './log.js';
export * as state from './state.js';
