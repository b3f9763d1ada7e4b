import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const usage = `Usage: npm run bench -- [options]
  --quick       the host rows alone, in less than a minute
  --only GROUP  that group of rows alone: host, workers, start, sessions, mongodb or million
  --rounds N    rounds of which the median is taken (5)
  --seconds N   seconds of load in a round (2; 1 with --quick)
  --json FILE   where the figures are written (bench/data/results.json)`;

const options = readOptions();
installPeers();

// These import the peers.
const { rows } = await import('./rows.mjs');
const { leaveServerCore, machine, requireMachine } = await import('./machine.mjs');
const { measureRow } = await import('./measure.mjs');
const { judge } = await import('./goals.mjs');
const { reportText, sampleLine } = await import('./report.mjs');

const chosen = rows.filter(({ group }) => options.group === undefined || group === options.group);
if (chosen.length === 0) stopWithUsage(`There are no rows "${options.group}".`);
const failures = [];
const results = await measure();
const run = {
  date: new Date().toISOString(),
  rounds: options.rounds,
  seconds: options.seconds,
  machine: machine(),
};
writeFigures();
console.log(`\n${reportText(run, chosen, results)}`);
console.log(`\nThe figures are in ${relative(process.cwd(), options.json)}.`);
for (const { row, error } of failures) console.error(`\n${row.name} could not be measured: ${error.message}`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function measure() {
  requireMachine();
  leaveServerCore();
  mkdirSync(join(here, 'data'), { recursive: true });
  const folder = mkdtempSync(join(here, 'data', 'run-'));
  const results = new Map();
  const stores = new Map();
  try {
    for (const row of chosen) {
      const onSample = (round, name, sample) => console.error(sampleLine(row, round, name, sample));
      try {
        results.set(row.name, await measureRow(row, { ...options, folder, stores, onSample }));
      } catch (error) {
        // The other rows are worth having all the same.
        failures.push({ row, error });
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
}

function writeFigures() {
  const figures = {
    ...run,
    rows: chosen
      .filter((row) => results.has(row.name))
      .map(({ group, name }) => ({ group, name, contestants: Object.fromEntries(results.get(name)) })),
    goals: judge(results),
  };
  writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string' },
        json: { type: 'string', default: join(here, 'data', 'results.json') },
      },
    });
    return {
      group: values.only ?? (values.quick ? 'host' : undefined),
      keepServers: values.quick,
      rounds: count('rounds', values.rounds),
      seconds: count('seconds', values.seconds ?? (values.quick ? '1' : '2')),
      json: resolve(values.json),
    };
  } catch (error) {
    return stopWithUsage(error.message);
  }
}

function count(name, text) {
  if (!/^[1-9]\d{0,2}$/.test(text))
    throw new Error(`--${name} takes a whole number from 1 to 999, not "${text}".`);
  return Number(text);
}

function stopWithUsage(message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}

/** The peers have a lock file of their own, so that nobody who only wants the server installs them. */
function installPeers() {
  if (existsSync(join(here, 'node_modules', '.package-lock.json'))) return;
  console.error('Installing the peers to measure against …');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
