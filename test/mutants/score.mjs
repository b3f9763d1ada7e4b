/**
 * Measures how many mutants, made by Stryker in every place that it knows, the tests catch: `npm run mutants:score`. A word
 * after the command chooses groups of groups.mjs by their names. `--rate 0.1` tries a part of the mutants, drawn at random
 * by `--seed`; without it, all. `--file 'calls|answer'` tries the files of the groups whose paths match. `--survivors` lists
 * those that no test caught.
 *
 * Stryker needs Node 22 and its own packages: `npm ci --prefix test/mutants`.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { equivalent } from './equivalent.mjs';
import { groups } from './groups.mjs';

const here = fileURLToPath(new URL('./', import.meta.url));
const root = fileURLToPath(new URL('../../', import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    file: { type: 'string', default: '' },
    rate: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    survivors: { type: 'boolean', default: false },
  },
});
if (Number(process.versions.node.split('.')[0]) < 22) {
  console.error(`Stryker needs Node 22 or newer; this is ${process.version}`);
  process.exit(2);
}

Object.assign(process.env, { MUTANTS_RATE: options.rate, MUTANTS_SEED: options.seed });
const { isDrawn } = await import('./sample.mjs');

const chosen = groups.filter(
  ({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)),
);
const work = mkdtempSync(join(tmpdir(), 'mutants-'));
const rows = [];
try {
  for (const group of chosen)
    rows.push(...scoresOf(run(group)).map((row) => ({ ...row, group: group.name })));
} finally {
  rmSync(work, { recursive: true, force: true });
}
for (const { file, ...counts } of rows) print(file, counts);
for (const name of new Set(rows.map(({ group }) => group.split('/')[0])))
  print(name, sum(rows.filter(({ group }) => group.split('/')[0] === name)));

function filesOf(patterns) {
  return patterns.flatMap((pattern) => globSync(pattern, { cwd: root }).sort());
}

function compiled(file) {
  return join('dist', file.replace(/\.ts$/, '.js'));
}

/** Stryker's report on the files of a group. */
function run({ name, mutate, tests, skip, inChildren }) {
  const report = join(work, 'report.json');
  const config = join(work, 'stryker.json');
  const mutated = filesOf(mutate);
  // Within the project, so that the copies find its node_modules.
  const tempDirName = `.stryker-${process.pid}`;
  writeFileSync(
    config,
    JSON.stringify({
      mutate: mutated.filter((file) => new RegExp(options.file).test(file)),
      testRunner: 'suites',
      suites: { files: filesOf(tests), mutated: mutated.map(compiled), skip, inChildren },
      warnings: { unknownOptions: false },
      plugins: ['runner', 'sample', 'texts'].map((plugin) => join(here, `${plugin}.mjs`)),
      checkers: ['sample'],
      ignorers: ['texts'],
      coverageAnalysis: 'perTest',
      buildCommand: 'tsc',
      // TypeScript 7 has no API for the preprocessor of Stryker.
      tsconfigFile: 'none.json',
      disableTypeChecks: '{config,databases,host,plugins,test}/**/*.ts',
      ignorePatterns: ['bench', 'clients', 'coverage', 'dist/bundle', '.stryker-*'],
      symlinkNodeModules: false,
      tempDirName,
      concurrency: Number(process.env.MUTANTS_PROCESSES ?? 2),
      timeoutMS: 10_000,
      reporters: ['json', 'progress-append-only'],
      jsonReporter: { fileName: report },
    }),
  );
  const stryker = join(here, 'node_modules/@stryker-mutator/core/bin/stryker.js');
  console.error(`\n== ${name}`);
  const { status } = spawnSync(process.execPath, [stryker, 'run', config], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, MODEL_RUNS: '20' },
  });
  rmSync(join(root, tempDirName), { recursive: true, force: true });
  if (status !== 0) throw new Error(`Stryker ended with ${status}`);
  return JSON.parse(readFileSync(report, 'utf8'));
}

function scoresOf({ files }) {
  return Object.entries(files).map(([file, { source, mutants }]) => {
    const lines = source.split('\n');
    const drawn = mutants.filter(
      ({ id, status }) => isDrawn(id) && status !== 'Ignored' && status !== 'RuntimeError',
    );
    const alive = drawn.filter(({ status }) => status === 'Survived' || status === 'NoCoverage');
    const survivors = alive.filter((mutant) => !isEquivalent(file, lines, mutant));
    if (options.survivors) {
      for (const { location, replacement, status } of survivors) {
        const { line, column } = location.start;
        const end = location.end.line === line ? location.end.column - 1 : undefined;
        const from = lines[line - 1].slice(column - 1, end);
        console.log(`${file}:${line}:${column} ${status}: ${from}  ->  ${replacement?.replace(/\s+/g, ' ')}`);
      }
    }
    return {
      file,
      all: mutants.filter(({ status }) => status !== 'Ignored').length,
      tried: drawn.length,
      same: alive.length - survivors.length,
      caught: drawn.length - alive.length,
    };
  });
}

/** Whether the list says of the mutant's line, or of the mutant itself, that nobody can see the difference. */
function isEquivalent(file, lines, { location, replacement = '' }) {
  const line = lines[location.start.line - 1];
  return equivalent.some(
    (each) =>
      each.file === file &&
      line.includes(each.line) &&
      (each.becomes === undefined || each.becomes.includes(replacement)),
  );
}

function sum(all) {
  const total = (name) => all.reduce((count, row) => count + row[name], 0);
  return { all: total('all'), tried: total('tried'), same: total('same'), caught: total('caught') };
}

function print(name, { all, tried, same, caught }) {
  const counted = tried - same;
  const share = counted === 0 ? 1 : caught / counted;
  const [low, high] = interval(share, counted);
  const range = tried < all ? `, 95 % interval ${percent(low)} to ${percent(high)}` : '';
  console.log(
    `${name.padEnd(48)} ${percent(share).padStart(7)}  ${caught} of ${counted} caught; ${tried} of ${all} tried, ${same} equivalent${range}`,
  );
}

/** Wilson's. */
function interval(share, count) {
  if (count === 0) return [0, 1];
  const z = 1.96;
  const middle = share + z ** 2 / (2 * count);
  const around = z * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2));
  const scale = 1 + z ** 2 / count;
  return [(middle - around) / scale, (middle + around) / scale];
}

function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}
