/**
 * Ten million sessions on the embedded store: `npm run bench:ten-million -- --help`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { leaveServerCore, requireMachine } from './machine.mjs';
import { build } from './ten-million/build.mjs';
import { expiry } from './ten-million/expiry.mjs';
import { latency } from './ten-million/latency.mjs';
import { backup, encryption, ends, list, restore, scrub, start } from './ten-million/operations.mjs';
import { Population } from './ten-million/population.mjs';
import { report, writeReport } from './ten-million/report.mjs';

class TimeUp extends Error {}

const stages = { build, start, list, latency, expiry, scrub, backup, encryption, ends, restore };
/** Those that may follow on one which leaves the store encrypted, or without sessions. */
const afterChange = ['encryption', 'ends', 'restore'];
const usage = `Usage: npm run bench:ten-million -- [options] [STAGE …]
  STAGE           ${Object.keys(stages).join(', ')};
                  all that are not complete yet, without one
  --folder FOLDER where the store and the results are kept (${join(tmpdir(), 'ten-million')})
  --sessions N    10,000,000 by default
  --expiring N    how many sessions expire within a minute (a tenth of all)
  --tenth         run the stages on a copy of the store as it was after a tenth of the sessions
  --minutes N     stop after that time, where a stage can be continued; the next run continues it
  --report        print what was seen so far, and do nothing else
  --write         put what was seen into docs/scale.md`;

const { values, positionals } = readOptions();
const unknown = positionals.find((name) => !(name in stages));
if (unknown !== undefined) fail(`there is no stage "${unknown}"`);
requireMachine();
const run = open(
  resolve(values.folder),
  Number(values.sessions),
  Number(values.minutes ?? Number.POSITIVE_INFINITY),
);
const isChosen = (name) =>
  !values.report && (positionals.length > 0 ? positionals.includes(name) : !run.state.complete[name]);
try {
  for (const [name, stage] of Object.entries(stages)) {
    if (!isChosen(name)) continue;
    if (run.state.changed && !afterChange.includes(name))
      fail('the store is encrypted, or its sessions are ended: run the stage "restore" first');
    console.log(`# ${name}, ${new Date().toISOString()}`);
    // The bulk command may have both cores.
    if (name !== 'build') leaveServerCore();
    const [load] = loadavg();
    await stage(run);
    run.state.load = { ...run.state.load, [name]: Math.round(load * 10) / 10 };
    run.state.complete[name] = new Date().toISOString();
    run.save();
  }
} catch (error) {
  if (!(error instanceof TimeUp)) throw error;
  console.log('the time is up; the same command continues');
}
console.log(`\n${report(run)}`);
if (values.write) writeReport(run);
process.exit();

function open(folder, sessions, minutes) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'state.json');
  const state = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { sessions, begun: Date.now(), complete: {} };
  const until = performance.now() + minutes * 60_000;
  // In the order of the numbers, as logins with one idle timeout come: the last of them in 60 days.
  const expires = (n) => state.begun + 60 * 86_400_000 + n;
  const run = {
    folder,
    state,
    count: state.sessions,
    expiring: Number(values.expiring ?? state.sessions / 10),
    store: join(folder, 'store'),
    first: join(folder, 'store-first'),
    copy: join(folder, values.tenth ? 'copy-first' : 'copy'),
    population: new Population({ name: 'bulk', count: state.sessions, expires }),
    // Of few sessions, only whether the stages work is of interest.
    seconds: (full) => (state.sessions < 1_000_000 ? Math.ceil(full / 5) : full),
    save: () => writeFileSync(file, `${JSON.stringify(state, undefined, 2)}\n`),
    stopIfDue() {
      if (performance.now() > until) throw new TimeUp();
    },
  };
  if (!values.tenth) return run;
  state.tenth ??= { complete: {} };
  return { ...run, isTenth: true, state: state.tenth, count: state.sessions / 10, store: run.first };
}

function readOptions() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        folder: { type: 'string', default: join(tmpdir(), 'ten-million') },
        sessions: { type: 'string', default: '10000000' },
        expiring: { type: 'string' },
        minutes: { type: 'string' },
        tenth: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        report: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    fail(error.message);
  }
}

function fail(message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}
