import { cpSync, existsSync, rmSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { storeFile } from '../../dist/plugins/sessman/stores/embedded/folder.js';
import { EmbeddedStore } from '../../dist/plugins/sessman/stores/embedded/index.js';
import { newSession } from './calls.mjs';
import { closedLoad } from './open-load.mjs';
import { readIntoCache } from './page-cache.mjs';
import { startServer } from './server.mjs';

/** Sessions that are stored at once, in the store's largest transactions. */
const atOnce = 10_000;
/** Bytes of the file for a session of 800 bytes, and of its backup. */
const bytesPerSession = 1650 * 2;
const sliceSeconds = 5;

/**
 * Makes the store, once: a million sessions, three and ten, by a bulk command, and a million more over HTTP meanwhile.
 * A copy is kept of it as it is after the first tenth.
 */
export async function build(run) {
  const { count } = run.population;
  requireSpace(run.folder, (count - (run.state.built ?? 0)) * bytesPerSession);
  const http = { [count / 10]: 0.1, [(3 * count) / 10]: 0.2, [count]: 1 };
  for (let end = count / 10; end <= count; end += count / 10) {
    await insert(run, end);
    if (end === count / 10) keepFirst(run);
    if (http[end] !== undefined) await insertOverHttp(run, end, (http[end] * count) / 10);
  }
}

/** The sessions from one number to another, all at once, through the store's own code. Those that exist stay. */
export async function insertAll(store, population, from, to) {
  const records = Array.from({ length: to - from }, (_, i) => population.record(from + i));
  for (let tries = 1; ; tries++) {
    try {
      await Promise.all(records.map((record) => store.insert(record)));
      return;
    } catch (error) {
      // A busy disk can keep so much longer than the deadline of a commit. What was stored meanwhile stays.
      if (error.code !== 'store_unavailable' || tries === 10) throw error;
      await pause(1000);
    }
  }
}

async function insert(run, end) {
  const { population, state, save, store: folder, stopIfDue } = run;
  if ((state.built ?? 0) >= end) return;
  // A commit has a deadline, which a file on a slow disk could miss.
  if (state.built !== undefined && !run.isCached) await readIntoCache(folder);
  run.isCached = true;
  const store = await EmbeddedStore.openClaimed(folder);
  try {
    for (let n = state.built ?? 0; n < end; n = state.built) {
      const began = performance.now();
      const next = Math.min(end, n + atOnce);
      await insertAll(store, population, n, next);
      state.built = next;
      state.buildSeconds ??= {};
      state.buildSeconds[end] = (state.buildSeconds[end] ?? 0) + (performance.now() - began) / 1000;
      save();
      stopIfDue();
    }
  } finally {
    await store.close();
  }
  const { buildSeconds } = state;
  const rate = Math.round(population.count / 10 / buildSeconds[end]);
  state.file ??= {};
  state.file[end] = statSync(join(folder, storeFile)).size;
  save();
  console.log(`${end} sessions; the last tenth ${rate}/s, the file ${state.file[end]} bytes`);
}

function keepFirst({ store, first, state, save }) {
  if (state.first) return;
  rmSync(first, { recursive: true, force: true });
  cpSync(store, first, { recursive: true, filter: isOfStore });
  state.first = true;
  save();
}

/** Not what the processes that use a store leave beside it. */
function isOfStore(path) {
  return !path.includes('claim-') && !path.endsWith('-lock');
}

async function insertOverHttp(run, at, until) {
  const { state, save, stopIfDue } = run;
  state.http ??= {};
  state.httpRates ??= {};
  const done = () => Object.values(state.http).reduce((sum, each) => sum + each, 0);
  if (done() >= until) return;
  const server = await startServer(run);
  try {
    while (done() < until) {
      const logins = newSession();
      const next = () => logins[Math.floor(Math.random() * logins.length)];
      const seen = await closedLoad({ port: server.port, seconds: run.seconds(sliceSeconds), next });
      state.http[at] = (state.http[at] ?? 0) + seen.count;
      state.httpRates[at] = [...(state.httpRates[at] ?? []), seen.throughput];
      save();
      stopIfDue();
    }
  } finally {
    await server.stop();
  }
  console.log(`over HTTP at ${at}: ${state.http[at]} sessions, ${state.httpRates[at].join(', ')}/s`);
}

function requireSpace(folder, bytes) {
  const { bavail, bsize } = statfsSync(existsSync(folder) ? folder : dirname(folder));
  if (bavail * bsize >= bytes) return;
  throw new Error(
    `${folder} needs ${Math.ceil(bytes / 1e9)} GB, and has ${Math.floor((bavail * bsize) / 1e9)} GB`,
  );
}
