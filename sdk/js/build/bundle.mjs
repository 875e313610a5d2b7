// Makes one module of the handler, its packages and the SDK, and the map that leads from its lines to the user's files.

import { builtinModules } from 'node:module';
import path from 'node:path';
import { decodeSegment, encodeSegment } from '../src/stack.js';
import { Problem, sdk } from './project.mjs';

/** What stacks call the module in the engine. */
const FILE = 'componentize-qjs:user.js';
/** What the module that brings handler and SDK together is called. */
const ENTRY = 'heddle-plugin.js';

/**
 * The module and its map. Everything asynchronous is rewritten to generators and the `Promise` of the SDK, because the
 * engine's own promises never run within a call.
 */
export async function bundle(project) {
  const esbuild = project.require('esbuild');
  const outfile = path.join(project.work, 'plugin.js');
  let result;
  try {
    result = await esbuild.build({
      absWorkingDir: project.folder,
      stdin: { contents: entryOf(project), resolveDir: project.folder, sourcefile: ENTRY },
      bundle: true,
      write: false,
      outfile,
      format: 'esm',
      platform: 'browser',
      mainFields: ['module', 'main'],
      conditions: ['heddle', 'worker', 'production'],
      target: 'es2022',
      supported: {
        'async-await': false,
        'async-generator': false,
        'for-await': false,
        'top-level-await': false,
        'dynamic-import': true,
      },
      define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
      external: ['heddle:*'],
      plugins: [sdkOnce()],
      charset: 'utf8',
      legalComments: 'none',
      sourcemap: 'external',
      sourcesContent: false,
      logLevel: 'silent',
    });
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    throw await faultOf(esbuild, project, error.errors);
  }
  for (const warning of await esbuild.formatMessages(result.warnings, { kind: 'warning' })) console.error(warning);
  const text = (ending) => result.outputFiles.find((file) => file.path.endsWith(ending)).text;
  const map = compact(JSON.parse(text('.js.map')), path.dirname(outfile), project.folder);
  // After the last line, so that the map holds for all others.
  const code = `${text('.js')}__heddle_map(${JSON.stringify(map)});\ndelete globalThis.__heddle_map;\n`;
  return { code, map };
}

function entryOf(project) {
  const own = (file) => JSON.stringify(path.join(sdk, 'src', file));
  return `
import ${own('plugin/prelude.js')};
import handle from ${JSON.stringify(`./${project.entry}`)};
import { plugin } from ${own('plugin/entry.js')};
import { setMap } from ${own('stack.js')};
globalThis.__heddle_map = setMap;
export const handler = plugin(handle);
`;
}

/** The handler and the plugin around it must meet in the same copy of the SDK, wherever the handler's lies. */
function sdkOnce() {
  return {
    name: 'heddle-sdk',
    setup(build) {
      build.onResolve({ filter: /^@heddle\/sdk$/ }, () => ({ path: path.join(sdk, 'src/index.js') }));
      build.onResolve({ filter: /^@heddle\/sdk\/testing$/ }, () => ({
        errors: [{ text: '`@heddle/sdk/testing` is for tests and cannot be in a plugin' }],
      }));
    },
  };
}

async function faultOf(esbuild, project, errors) {
  if (errors.some((error) => lacksHandler(error))) {
    return new Problem(
      `\`${project.entry}\` has no default export, which is the handler: write \`export default function handle(event) { … }\``,
    );
  }
  const told = errors.map((error) => ({ ...error, ...explained(error) }));
  console.error((await esbuild.formatMessages(told, { kind: 'error', color: process.stderr.isTTY })).join('').trimEnd());
  return new Problem('');
}

function lacksHandler({ text, location }) {
  return text.startsWith('No matching export') && text.includes('"default"') && location?.file === ENTRY;
}

/** What is to be said in place of esbuild's words. */
function explained({ text }) {
  if (text.startsWith('Top-level await')) {
    return { text: 'await cannot be used outside of a function: a plugin is loaded without waiting for anything' };
  }
  const missing = /^Could not resolve "(?:node:)?([^"]+)"/.exec(text)?.[1];
  if (missing === undefined) return {};
  if (builtinModules.includes(missing)) {
    return { text: `\`${missing}\` is a part of Node, which a plugin does not have`, notes: [] };
  }
  return missing.startsWith('.')
    ? {}
    : { text: `the package \`${missing}\` is not installed: run \`npm install ${missing}\``, notes: [] };
}

/**
 * A map as `setMap` takes it: without the SDK's own lines, each line by itself. Of packages only the lines are kept, for
 * their columns would be most of the map.
 */
export function compact(map, base, folder) {
  const places = map.sources.map((source) => placeOf(path.resolve(base, decodeURI(source)), folder));
  const sources = [...new Set(places.filter((place) => place !== undefined))];
  const at = [0, 0, 0];
  const lines = map.mappings.split(';').map((line) => {
    let column = 0;
    let last = [0, 0, 0, 0];
    let ownsNothing = true;
    const segments = [];
    for (const text of line === '' ? [] : line.split(',')) {
      const numbers = decodeSegment(text);
      column += numbers[0];
      for (let i = 1; i < 4 && numbers.length > 1; i++) at[i - 1] += numbers[i];
      const source = numbers.length > 1 ? sources.indexOf(places[at[0]]) : -1;
      if (source < 0) {
        if (ownsNothing) continue;
        segments.push(encodeSegment([column - last[0]]));
        last = [column, ...last.slice(1)];
        ownsNothing = true;
        continue;
      }
      const isPackage = sources[source].startsWith('node_modules/') || sources[source].includes('/node_modules/');
      if (isPackage && !ownsNothing && last[1] === source && last[2] === at[1]) continue;
      const next = [column, source, at[1], at[2]];
      segments.push(encodeSegment(next.map((number, i) => number - last[i])));
      last = next;
      ownsNothing = false;
    }
    return segments.join(',');
  });
  return { file: FILE, sources, lines: lines.join(';').replace(/;+$/, '') };
}

/** How a file is called in stacks; none if its frames are not shown. */
function placeOf(file, folder) {
  if (file.startsWith(sdk + path.sep) || path.basename(file) === ENTRY) return undefined;
  return path.relative(folder, file).replaceAll('\\', '/');
}
