#!/usr/bin/env node
// Builds the plugin of the project in the current folder: checks its types, bundles it with the SDK, and makes a component
// of it. Usage: node build.mjs [--project FOLDER]

import fs from 'node:fs';
import path from 'node:path';
import { bundle } from './build/bundle.mjs';
import { componentize } from './build/component.mjs';
import { keep, keptOf, originOf } from './build/kept.mjs';
import { Problem, readProject } from './build/project.mjs';
import { checkTypes } from './build/types.mjs';

async function main(args) {
  const project = readProject(folderOf(args));
  checkTypes(project);
  const source = await bundle(project);
  fs.mkdirSync(project.work, { recursive: true });
  fs.writeFileSync(path.join(project.work, 'plugin.js'), source.code);
  const origin = originOf(project, source.code);
  const kept = keptOf(project, origin);
  const component = kept ?? (await componentize(project, source));
  if (kept === undefined) {
    put(project.result, component);
    keep(project, origin, component);
  }
  console.log(`${path.relative(process.cwd(), project.result)}: ${component.length} bytes${kept ? ', as before' : ''}`);
}

/** Writes a file at once: a host that watches it must not see half of it. */
function put(file, content) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.new`, content);
  fs.renameSync(`${file}.new`, file);
}

function folderOf(args) {
  if (args.length === 0) return process.cwd();
  if (args.length === 2 && args[0] === '--project') return path.resolve(args[1]);
  throw new Problem('usage: node build.mjs [--project FOLDER]');
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  if (error.message) console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
