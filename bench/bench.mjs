import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contestants } from './contestants.mjs';
import { judge } from './goals.mjs';
import { leaveServerCore, machine, requireMachine } from './machine.mjs';
import { measureRow } from './measure.mjs';
import { profileEnvironment, profileText } from './profile.mjs';
import { reportText, sampleLine } from './report.mjs';
import { rows } from './rows.mjs';

/** Inside the package, as the plugins of a clone are. */
const dataFolder = fileURLToPath(new URL('../data/bench', import.meta.url));

/**
 * Measures the rows asked for, prints their tables and writes their figures.
 *
 * @param {object} options as run.mjs reads them
 * @returns {Promise<boolean>} whether every row could be measured
 */
export async function bench(options) {
  requireMachine();
  const chosen = chooseRows(options.only);
  leaveServerCore();
  mkdirSync(dataFolder, { recursive: true });
  const folder = mkdtempSync(join(dataFolder, 'run-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const shared = { ...options, folder, stores: new Map() };
  const results = new Map();
  const failures = [];
  for (const row of chosen) {
    try {
      results.set(row.name, await (options.profile ? profileRow(row, shared) : measured(row, shared)));
    } catch (error) {
      // The other rows are worth having all the same.
      failures.push(`${row.name} could not be measured: ${error.message}`);
    }
  }
  const { rounds, seconds, json } = options;
  const run = { date: new Date().toISOString(), rounds, seconds, machine: machine() };
  writeFigures(json, run, chosen, results);
  console.log(`\n${reportText(run, chosen, results)}`);
  console.log(`\nThe figures are in ${relative(process.cwd(), json)}.`);
  for (const failure of failures) console.error(`\n${failure}`);
  return failures.length === 0;
}

/** `names` are groups of rows and servers; none of a kind means all of it. */
function chooseRows(names) {
  const groups = new Set(names.filter((name) => rows.some(({ group }) => group === name)));
  const servers = new Set(names.filter((name) => contestants.has(name)));
  const unknown = names.find((name) => !groups.has(name) && !servers.has(name));
  if (unknown !== undefined) throw new Error(`there is no group of rows and no server "${unknown}"`);
  return rows
    .filter(({ group }) => groups.size === 0 || groups.has(group))
    .map((row) => ({
      ...row,
      contestants: row.contestants.filter((name) => servers.size === 0 || servers.has(name)),
    }))
    .filter((row) => row.contestants.length > 0);
}

function measured(row, options) {
  const onSample = (round, name, sample) => console.error(sampleLine(row, round, name, sample));
  return measureRow(row, { ...options, onSample });
}

async function profileRow(row, options) {
  const folders = new Map(
    row.contestants.map((name) => [name, mkdtempSync(join(options.folder, 'profile-'))]),
  );
  const result = await measured(row, {
    ...options,
    environment: (name) => profileEnvironment(folders.get(name)),
  });
  for (const [name, folder] of folders)
    console.log(`\n${row.name} · ${name}\n${profileText(folder, result.get(name).cpu)}`);
  return result;
}

function writeFigures(file, run, chosen, results) {
  const figures = {
    ...run,
    rows: chosen
      .filter((row) => results.has(row.name))
      .map(({ group, name }) => ({ group, name, contestants: Object.fromEntries(results.get(name)) })),
    goals: judge(results),
  };
  writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
}
