import { setTimeout as pause } from 'node:timers/promises';
import { EmbeddedStore } from '../../dist/plugins/sessman/stores/embedded/index.js';
import { besideLoad, compared } from './beside.mjs';
import { insertAll } from './build.mjs';
import { stored } from './calls.mjs';
import { readIntoCache } from './page-cache.mjs';
import { Population } from './population.mjs';

/** Milliseconds. */
const minute = 60_000;
/** From the last insert to the first expiry: the load without expiry is measured meanwhile. */
const preparation = 60_000;
const deadline = 40 * minute;
/** Sessions that are stored at once, as a server would. */
const few = 100;

/** A million sessions expire within a minute, while all others are used at half of the peak rate. */
export async function expiry(run) {
  const { state, save } = run;
  await readIntoCache(run.store);
  const count = run.expiring;
  const perSession = await timeOfInsert(run.store);
  const begins = Date.now() + count * perSession * 1.5 + run.seconds(preparation);
  const expiring = new Population({
    name: `expiring ${begins}`,
    count,
    // In no order of their handles.
    expires: (n) => begins + ((n * 7919) % minute),
  });
  await insert(run.store, expiring);
  let all;
  const remains = [];
  const work = async ({ port }) => {
    while (Date.now() < begins + deadline) {
      const left = (await stored(port)) - (all - count);
      remains.push([Date.now() - begins, left]);
      if (left <= 0) return;
      await pause(1000);
    }
    throw new Error(`${remains.at(-1)[1]} sessions are left after ${deadline} ms`);
  };
  const store = EmbeddedStore.open(run.store);
  all = store.count();
  await store.close();
  const ready = async () => {
    if (Date.now() > begins)
      console.log('the first sessions expired before the load without that was measured');
    await pause(Math.max(0, begins - Date.now()));
  };
  state.expiry = { count, ...(await besideLoad(run, {}, work, { ready })), remains };
  save();
  console.log(`${count} sessions expired within 60 s, and were removed after ${compared(state.expiry)}`);
}

/** Milliseconds a session, from some that do not expire meanwhile. The first ones are slower: they do not count. */
async function timeOfInsert(folder) {
  const now = Date.now();
  const count = 40 * few;
  const trial = new Population({ name: `trial ${now}`, count, expires: () => now + 60 * 86_400_000 });
  let half;
  await insert(folder, trial, (n) => {
    if (n === count / 2) half = performance.now();
  });
  return (performance.now() - half) / (count / 2);
}

async function insert(folder, population, onInserted = () => {}) {
  const store = await EmbeddedStore.openClaimed(folder);
  try {
    for (let n = 0; n < population.count; n += few) {
      const end = Math.min(population.count, n + few);
      await insertAll(store, population, n, end);
      onInserted(end);
    }
  } finally {
    await store.close();
  }
}
