/**
 * Runs every fault against real processes and prints what was seen as one table.
 *
 * Long ones run only by name. `--quick` does less of each and judges no speed, `--only NAME` runs one of them, and `--write`
 * puts what was seen into the tables of docs/reliability.md, where the rows of other faults stay as they are.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { faults } from './faults.js';
import { type Fault, type Outcome, Verdict } from './support/fault.js';
import { type Result, table, updatedTable } from './support/table.js';

const report = new URL('../../../docs/reliability.md', import.meta.url);
/** Around the tables in the report. */
const markers = ['<!-- table: begin -->', '<!-- table: end -->'] as const;
const longMarkers = ['<!-- long: begin -->', '<!-- long: end -->'] as const;

const usage = `Usage: npm run faults -- [--quick] [--write] [--only NAME]…
  NAME is one of ${faults.map(({ name }) => name).join(', ')}
`;
const options = readOptions();

const chosen = faults.filter(({ name, isLong }) => options.only?.includes(name) ?? !isLong);
if (chosen.length === 0 || (options.only?.length ?? 0) > chosen.length) {
  process.stderr.write(usage);
  process.exit(2);
}

Verdict.judgesSpeed = !options.quick;
const results: Result[] = [];
for (const fault of chosen) {
  process.stderr.write(`${fault.name}: ${fault.title} … `);
  const begun = performance.now();
  const outcome = await fault.run((full, quick) => (options.quick ? quick : full)).catch(broken);
  const ms = performance.now() - begun;
  results.push({ fault, outcome, ms });
  process.stderr.write(
    `${outcome.failures.length === 0 ? 'held' : 'FAILED'} (${(ms / 1000).toFixed(1)} s)\n`,
  );
}
process.stdout.write(`\n${table(results)}\n`);
if (options.write) await writeReport();
// Connections that a fault left behind hold up nothing.
process.exit(results.every(({ outcome }) => outcome.failures.length === 0) ? 0 : 1);

function readOptions() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

/** A fault that could not be run to its end has not held. */
function broken(error: unknown): Outcome {
  return { times: '–', failures: [error instanceof Error ? (error.stack ?? error.message) : String(error)] };
}

async function writeReport(): Promise<void> {
  const date = new Date().toISOString().slice(0, 10);
  const isOf = (isLong: boolean) => (each: Fault) => (each.isLong ?? false) === isLong;
  let page = await readFile(report, 'utf8');
  for (const [marks, isLong] of [
    [markers, false],
    [longMarkers, true],
  ] as const) {
    const seen = results.filter(({ fault }) => isOf(isLong)(fault));
    if (seen.length === 0) continue;
    const [marker, end] = marks.map((each) => page.indexOf(each)) as [number, number];
    const begin = marker + marks[0].length;
    const all = faults.filter(isOf(isLong));
    const text = updatedTable(page.slice(begin, end), seen, all, isLong ? date : undefined);
    page = `${page.slice(0, begin)}\n${text}\n${page.slice(end)}`;
  }
  await writeFile(report, page);
}
