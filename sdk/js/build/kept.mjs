// Keeps the component while what it is made of stays the same.
//
// Two components of one bundle differ in a few bytes, for the engine draws its seeds while it is prepared. A host would take
// the second one for a new version.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const digest = (...parts) => parts.reduce((hash, part) => hash.update(part).update('\0'), crypto.createHash('sha256')).digest('hex');

/** What the component is made of, as a digest. */
export function originOf(project, code) {
  const tool = fs.readFileSync(project.resolve('componentize-qjs/package.json'));
  const contract = fs.readFileSync(path.join(project.wit, 'heddle.wit'));
  return digest(code, tool, contract);
}

/** The component in `dist`, if it was made of this; else none. */
export function keptOf(project, origin) {
  try {
    const note = JSON.parse(fs.readFileSync(noteOf(project), 'utf8'));
    const component = fs.readFileSync(project.result);
    return note.origin === origin && note.component === digest(component) ? component : undefined;
  } catch {
    // No note, or none that can be read, or no component: it is built again.
    return undefined;
  }
}

/** Notes what a component was made of. */
export function keep(project, origin, component) {
  fs.writeFileSync(noteOf(project), JSON.stringify({ origin, component: digest(component) }));
}

const noteOf = (project) => path.join(project.work, 'made.json');
