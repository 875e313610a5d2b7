// `console`, whose lines become log lines.

import { format, show } from '../format.js';

/** A console. `write` takes a level and a text. */
export function makeConsole(write) {
  const line =
    (level) =>
    (...values) =>
      write(level, format(values));
  const nothing = () => {};
  return {
    log: line('info'),
    info: line('info'),
    debug: line('debug'),
    trace: line('trace'),
    warn: line('warn'),
    error: line('error'),
    group: line('info'),
    groupCollapsed: line('info'),
    table: line('info'),
    dir: (value) => write('info', show(value)),
    assert: (holds, ...values) => {
      if (!holds) write('error', values.length > 0 ? `Assertion failed: ${format(values)}` : 'Assertion failed');
    },
    groupEnd: nothing,
    time: nothing,
    timeLog: nothing,
    timeEnd: nothing,
    count: nothing,
    countReset: nothing,
  };
}
