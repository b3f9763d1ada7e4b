import { statSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { storeFile } from '../../dist/plugins/sessman/stores/embedded/folder.js';
import { calls } from './calls.mjs';
import { closedLoad, openLoad } from './open-load.mjs';
import { readIntoCache } from './page-cache.mjs';
import { startServer } from './server.mjs';

const peakSeconds = 4;
const seconds = 10;
/** Bytes that a server needs of its own, twice. */
const leastMemory = 400e6;

/**
 * `get`, `update` and `patch` at half of the rate that the server can serve at most: of a tenth of the sessions, of all of
 * them, of all once the page cache was dropped, and in a cgroup that holds a quarter of the file.
 */
export async function latency(run) {
  const { store, first, population, state, save } = run;
  const size = statSync(join(store, storeFile)).size;
  const { count } = population;
  const states = [
    { name: nameOf(count / 10), count: count / 10, store: first },
    { name: nameOf(count), count },
    { name: 'page cache dropped', count, cold: true },
    { name: 'cgroup of a quarter of the file', count, limit: Math.max(leastMemory, Math.round(size / 4)) },
  ];
  // A stage that is run again replaces its rows one by one.
  const results = { ...state.latency };
  for (const { name, count, ...options } of states) {
    if (!options.cold && options.limit === undefined) await readIntoCache(options.store ?? store);
    results[name] = {};
    for (const call of Object.keys(calls)) {
      // Where it began cold, each call does.
      const [machineLoad] = loadavg();
      const server = await startServer(run, options);
      try {
        const next = () => calls[call](population.id(Math.floor(Math.random() * count)));
        const warmPeak = results[nameOf(population.count)]?.[call]?.peak;
        const peak = options.cold
          ? warmPeak
          : (await closedLoad({ port: server.port, seconds: run.seconds(peakSeconds), next })).throughput;
        const seen = await openLoad({
          port: server.port,
          rate: peak / 2,
          seconds: run.seconds(seconds),
          next,
        });
        results[name][call] = {
          peak,
          machineLoad,
          startTime: server.startTime,
          ...seen,
          memory: server.memory(),
        };
        console.log(
          `${name}, ${call}: peak ${peak}/s, p50 ${seen.p50} ms, p99 ${seen.p99} ms, max ${seen.max} ms at ${seen.rate}/s, ${seen.refused} refused, ${seen.unanswered} unanswered; first response after ${server.startTime.toFixed(0)} ms; ${JSON.stringify(results[name][call].memory)}`,
        );
      } finally {
        await server.stop();
      }
    }
    state.latency = results;
    save();
  }
}

function nameOf(count) {
  return `${count.toLocaleString('en')} sessions`;
}
