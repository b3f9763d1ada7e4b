/**
 * Breaks the code in one place at a time and expects a test to fail: `npm run mutants`. A word after the command
 * chooses mutants by their file: `npm run mutants -- template.ts`.
 *
 * The tests run in copies of dist/, so a run that is interrupted leaves nothing broken behind.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { mutants } from './mutants.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'mutants-'));
const children = new Set();
const atOnce = 2;
/** Milliseconds. Tests that take longer are caught in a loop, which counts as a failure. */
const longestRun = 300_000;

process.once('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const child of children) child.kill('SIGKILL');
    process.exit(1);
  });
}

const chosen = process.argv.slice(2);
const selected = mutants.filter(
  ({ file }) => chosen.length === 0 || chosen.some((word) => file.includes(word)),
);
const copies = Array.from({ length: atOnce }, (_, index) => copyOfDist(join(work, String(index))));
const { passed, output } = await runTests(copies[0], [...new Set(selected.flatMap(({ tests }) => tests))]);
if (!passed) {
  console.error(`${output}\nThe tests fail without a mutant. Mend that first.`);
  process.exit(1);
}

const failures = [];
const queue = selected.values();
await Promise.all(
  copies.map(async (copy) => {
    for (const mutant of queue) {
      const result = await tryMutant(copy, mutant);
      console.log(`${result.padEnd(8)}  ${describe(mutant)}`);
      if (result !== 'caught') failures.push(`${result}: ${describe(mutant)}`);
    }
  }),
);
console.log(`\n${selected.length - failures.length} of ${selected.length} mutants were caught`);
for (const failure of failures) console.error(`  ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** @returns {Promise<'caught' | 'survived' | 'stale'>} `stale`: the code that the mutant changes is no longer there */
async function tryMutant(copy, { file, from, to, tests }) {
  const source = readFileSync(join(root, file), 'utf8');
  if (source.split(from).length !== 2) return 'stale';
  const target = join(copy, 'dist', file.replace(/\.ts$/, '.js'));
  const original = readFileSync(target);
  const { code } = transformSync(
    source.replace(from, () => to),
    { loader: 'ts', target: 'es2023', sourcefile: file },
  );
  writeFileSync(target, code);
  const { passed } = await runTests(copy, tests);
  writeFileSync(target, original);
  return passed ? 'survived' : 'caught';
}

function describe({ file, from, to }) {
  const line = (text) => text.replace(/\s+/g, ' ');
  return `${file}: ${line(from)}  ->  ${line(to) || '(nothing)'}`;
}

/** Runs test files in a process of their own, up to the first failure. */
function runTests(copy, tests) {
  const files = tests.map((test) => `dist/test/${test}.test.js`);
  const options = [
    '--no-config',
    '--bail',
    '--timeout',
    '60000',
    '--require',
    'dist/test/support/environment.js',
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['node_modules/mocha/bin/mocha.js', ...options, ...files], {
      cwd: copy,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: longestRun,
      killSignal: 'SIGKILL',
    });
    children.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      children.delete(child);
      resolve({ passed: code === 0, output });
    });
  });
}

/** A folder in which compiled tests find all that they need; the bundle, which they would run as a process, is left out. */
function copyOfDist(folder) {
  mkdirSync(folder);
  for (const name of ['config', 'databases', 'host', 'plugins', 'test'])
    cpSync(join(root, 'dist', name), join(folder, 'dist', name), { recursive: true });
  for (const name of ['package.json', 'plugin-server.ini']) cpSync(join(root, name), join(folder, name));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}
