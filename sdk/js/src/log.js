// Log lines. They carry the event's id and the handler's name and are bounded in length and number for each event.

import { format } from './format.js';
import { host } from './host.js';

function line(level) {
  return (...values) => host.log(level, format(values).toWellFormed());
}

export const trace = line('trace');
export const debug = line('debug');
export const info = line('info');
export const warn = line('warn');
export const error = line('error');
