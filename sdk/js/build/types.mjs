// Checks the types of a TypeScript project, with the project's own compiler and settings.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Problem } from './project.mjs';

/** Shows what the compiler prints. */
export function checkTypes(project) {
  if (!project.usesTypes) return;
  const settings = path.join(project.folder, 'tsconfig.json');
  if (!fs.existsSync(settings)) throw new Problem('a handler in TypeScript needs a tsconfig.json beside package.json');
  const compiler = path.join(path.dirname(project.resolve('typescript/package.json')), 'bin/tsc');
  const args = [compiler, '--noEmit', '--project', settings];
  const { status, error } = spawnSync(process.execPath, args, { cwd: project.folder, stdio: 'inherit' });
  if (error) throw new Problem(`the TypeScript compiler does not start: ${error.message}`);
  if (status !== 0) throw new Problem('');
}
