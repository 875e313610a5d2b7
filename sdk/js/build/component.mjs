// Makes a component of the bundle, with the engine in it. The bundle's modules are loaded here already, so what they do
// at their top is done once, when the plugin is built.

import { setMap, framesOf } from '../src/stack.js';
import { Problem } from './project.mjs';

export async function componentize(project, { code, map }) {
  const { componentize: make } = project.require('componentize-qjs');
  try {
    const { component } = await make({ witPath: project.wit, jsSource: code, world: 'plugin', sync: true });
    return component;
  } catch (error) {
    throw new Problem(explained(project, String(error?.message ?? error), map));
  }
}

function explained(project, message, map) {
  if (message.includes('the default export is no function')) {
    return `the default export of \`${project.entry}\` is no function: write \`export default function handle(event) { … }\``;
  }
  const [, thrown] = /Failed to evaluate user JavaScript module: (?:Failed to [^:]*: )?([^]*)$/.exec(message) ?? [];
  if (thrown === undefined) return message;
  setMap({ ...map });
  const title = thrown.split('\n')[0];
  const frames = framesOf({ stack: thrown }).map((frame) => `\n    ${frame}`);
  return `the handler's modules fail while they are loaded: ${title}${frames.join('')}`;
}
