import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const shown = 25;

/** Environment that makes a node process, and those it starts, write a CPU profile into a folder when they end. */
export function profileEnvironment(folder) {
  const script = new URL('profiled.mjs', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${script}`, PROFILE_FOLDER: folder };
}

/** Where the time of the busiest profiled process went: functions by their own share, idle time left out. */
export function profileText(folder) {
  const profiles = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => busy(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
  if (profiles.length === 0) return 'No profile was written.';
  const { total, byFunction } = profiles.reduce((most, one) => (one.total > most.total ? one : most));
  return [...byFunction]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([where, time]) => `${((time / total) * 100).toFixed(1).padStart(5)} %  ${where}`)
    .join('\n');
}

function busy({ nodes, samples, timeDeltas }) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const byFunction = new Map();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const name = names.get(id);
    if (name === '(idle)') continue;
    total += timeDeltas[i];
    byFunction.set(name, (byFunction.get(name) ?? 0) + timeDeltas[i]);
  }
  return { total, byFunction };
}

/** The function and its file, told from the package's name on. */
function nameOf({ functionName, url, lineNumber }) {
  const name = functionName || '(anonymous)';
  if (url === '') return name;
  const file = url.replace(/^.*\/node_modules\/|^file:.*(?=\/(?:dist|bench)\/)/, '');
  return `${name}  ${file}:${lineNumber + 1}`;
}
