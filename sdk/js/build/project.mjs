// What is to be built: the project's folder, its files, and the tools it has installed.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The tools as the SDK was tried with them. */
const TOOLS = { esbuild: '0.28.2', 'componentize-qjs': '0.4.5', typescript: '7.0.2' };
const OLDEST_NODE = 20;
const ENTRIES = ['src/handler.ts', 'src/handler.mts', 'src/handler.js', 'src/handler.mjs'];

/** A fault of the project. Its message is all that is shown; none if the fault has been shown already. */
export class Problem extends Error {}

/** The folder of the SDK, whatever links lead to it. */
export const sdk = fs.realpathSync(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

export function readProject(given) {
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
    throw new Problem(`Node ${OLDEST_NODE} or newer is needed, but this is ${process.versions.node}`);
  }
  const folder = fs.realpathSync(given);
  const file = path.join(folder, 'package.json');
  if (!fs.existsSync(file)) throw new Problem(`there is no package.json in ${folder}: build in the folder of a project`);
  let settings;
  try {
    settings = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Problem(`package.json cannot be read: ${error.message}`);
  }
  const name = typeof settings.name === 'string' ? settings.name.split('/').pop() : '';
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new Problem('package.json has no plain `name`, which the plugin is called by');
  const wit = contract();
  const entry = entryOf(folder, settings.main);
  const usesTypes = /\.[mc]?tsx?$/.test(entry);
  const tools = Object.keys(TOOLS).filter((tool) => usesTypes || tool !== 'typescript');
  const require = createRequire(file);
  const project = {
    folder,
    name,
    entry,
    usesTypes,
    wit,
    work: path.join(folder, '.heddle/build'),
    result: path.join(folder, 'dist', `${name}.wasm`),
    /** The path of a file of an installed tool. */
    resolve: (id) => require.resolve(id),
    require,
  };
  checkTools(folder, tools, require);
  return project;
}

/** The contract, which the SDK carries. */
function contract() {
  const folder = path.join(sdk, 'wit');
  if (fs.existsSync(path.join(folder, 'heddle.wit'))) return folder;
  throw new Problem(`the contract is not at ${folder}: the SDK is not whole, so install it again`);
}

/** The handler's file, relative to the project. */
function entryOf(folder, main) {
  const candidates = main === undefined ? ENTRIES : [main];
  const entry = candidates.find((candidate) => fs.existsSync(path.join(folder, candidate)));
  if (entry !== undefined) return path.posix.normalize(entry.replaceAll('\\', '/'));
  throw new Problem(
    main === undefined
      ? 'there is no src/handler.ts or src/handler.js: write the handler there, or name its file as `main` in package.json'
      : `the file \`${main}\` that package.json names as \`main\` does not exist`,
  );
}

function checkTools(folder, tools, require) {
  const missing = [];
  for (const tool of tools) {
    const version = versionOf(tool, require);
    if (version === undefined) missing.push(tool);
    else if (version !== TOOLS[tool]) {
      console.error(`warning: ${tool} ${version} is installed, but the SDK is made for ${TOOLS[tool]}`);
    }
  }
  if (missing.length === 0) return;
  const settings = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const asked = { ...settings.dependencies, ...settings.devDependencies };
  const unasked = missing.filter((tool) => asked[tool] === undefined);
  const command =
    unasked.length === 0
      ? 'npm install'
      : `npm install --save-dev --save-exact ${unasked.map((tool) => `${tool}@${TOOLS[tool]}`).join(' ')}`;
  throw new Problem(`${missing.join(', ')} not installed. Run this in ${folder}:\n\n    ${command}\n`);
}

function versionOf(tool, require) {
  for (const folder of require.resolve.paths(tool) ?? []) {
    const file = path.join(folder, tool, 'package.json');
    if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, 'utf8')).version;
  }
  return undefined;
}
