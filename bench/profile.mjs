import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const shown = 25;

/** Environment that makes a node process, and those it starts, write a CPU profile into a folder when they end. */
export function profileEnvironment(folder) {
  const script = new URL('profiled.mjs', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${script}`, PROFILE_FOLDER: folder };
}

/** What a request goes through, by the functions where each step begins; a deeper one counts for itself alone. */
const steps = [
  ['accept the connection', /^onconnection$/],
  ['read the head, make the context', /^parserOnHeadersComplete$/],
  ['take the turn', /^(?:#turn|processImmediate)$/],
  ['check and route, handler', /^#dispatch$/],
  ['read the body', /^(?:acceptJson|takeQuickBody)$/],
  ['make the answer', /^(?:answerQuickly|end|endWith)$/],
  ['send it (the system)', /^(?:writev|writeUtf8String|writeLatin1String)$/],
  ['log', /^(?:line|writeAccess|#writeLines|#next)$/],
  ['metrics', /^#record$/],
  [
    'end the response and the connection',
    /^(?:resOnFinish|finish|socketOnClose|Socket\._destroy|close|shutdown)$/,
  ],
  ['collect garbage', /^\(garbage collector\)$/],
];
/** Microseconds from a process's start that are left out of its steps. */
const startPhase = 1_500_000;

/**
 * Where the time of the busiest profiled process went: the steps of a request, and functions by their own share, idle time
 * left out.
 *
 * @param {number} [cpu] microseconds of processor time an answer, to which the steps are scaled
 */
export function profileText(folder, cpu) {
  const profiles = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => busy(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
  if (profiles.length === 0) return 'No profile was written.';
  const { total, byFunction, byStep } = profiles.reduce((most, one) => (one.total > most.total ? one : most));
  const lines = [...byFunction]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([where, time]) => `${((time / total) * 100).toFixed(1).padStart(5)} %  ${where}`);
  if (cpu === undefined) return lines.join('\n');
  const stepTotal = [...byStep.values()].reduce((sum, time) => sum + time, 0);
  const stepLines = [...byStep]
    .sort(([, a], [, b]) => b - a)
    .map(([step, time]) => `${((time / stepTotal) * cpu).toFixed(1).padStart(6)} µs  ${step}`);
  return [...stepLines, '', ...lines].join('\n');
}

function busy({ nodes, samples, timeDeltas }) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const stepOf = stepsOf(nodes);
  const byFunction = new Map();
  const byStep = new Map();
  let total = 0;
  let now = 0;
  for (const [i, id] of samples.entries()) {
    now += timeDeltas[i];
    const name = names.get(id);
    if (name === '(idle)') continue;
    total += timeDeltas[i];
    byFunction.set(name, (byFunction.get(name) ?? 0) + timeDeltas[i]);
    const step = stepOf.get(id);
    if (now > startPhase) byStep.set(step, (byStep.get(step) ?? 0) + timeDeltas[i]);
  }
  return { total, byFunction, byStep };
}

/** The step of each node: that of its own function, else that of its caller. */
function stepsOf(nodes) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const found = new Map();
  const walk = (node, above) => {
    const step = steps.find(([, functions]) => functions.test(node.callFrame.functionName))?.[0] ?? above;
    found.set(node.id, step);
    for (const child of node.children ?? []) walk(byId.get(child), step);
  };
  walk(nodes[0], 'the rest');
  return found;
}

/** The function and its file, told from the package's name on. */
function nameOf({ functionName, url, lineNumber }) {
  const name = functionName || '(anonymous)';
  if (url === '') return name;
  const file = url.replace(/^.*\/node_modules\/|^file:.*(?=\/(?:dist|bench)\/)/, '');
  return `${name}  ${file}:${lineNumber + 1}`;
}
