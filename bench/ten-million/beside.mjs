import { mixed } from './calls.mjs';
import { closedLoad, openLoad } from './open-load.mjs';
import { startServer } from './server.mjs';

const peakSeconds = 5;
/** The first ones find a server that has just started, and a disk that still writes what went before. */
const peakTries = 3;
const baselineSeconds = 30;

/**
 * Measures what requests notice of `work`: a mix of calls for sessions of the whole store, at half of the rate that the
 * server can serve at most, before, meanwhile and afterwards: a machine that others use is not equally fast all the time.
 *
 * @param {object} run
 * @param {object} options as startServer takes them; `sessions` is how many of the population are in the store
 * @param {(server: object) => Promise<T>} work
 * @param {object} [more]
 * @param {() => Promise<unknown>} [more.ready] what is waited for between the two, under the same load
 * @param {number} [more.longest] milliseconds after which the load ends, though the work goes on
 * @returns {Promise<{ peak: number, before: object, during: object, after: object, seconds: number,
 *   result: T, memory: object }>}
 */
export async function besideLoad(run, options, work, { ready, longest = Number.POSITIVE_INFINITY } = {}) {
  const { population } = run;
  const { sessions = run.count } = options;
  const server = await startServer(run, options);
  try {
    const { port } = server;
    const next = () => mixed(population.id(Math.floor(Math.random() * sessions)));
    let peak = 0;
    for (let i = 0; i < peakTries; i++) {
      const { throughput } = await closedLoad({ port, seconds: run.seconds(peakSeconds), next });
      peak = Math.max(peak, throughput);
    }
    const rate = peak / 2;
    const before = await openLoad({ port, rate, seconds: run.seconds(baselineSeconds), next });
    if (ready) await openLoad({ port, rate, until: ready(), next });
    const began = performance.now();
    const worked = work(server).then((result) => ({ result, seconds: (performance.now() - began) / 1000 }));
    const during = await openLoad({ port, rate, seconds: longest / 1000, until: worked, next });
    const memory = server.memory();
    const { result, seconds } = await worked;
    const after = await openLoad({ port, rate, seconds: run.seconds(baselineSeconds), next });
    return { peak, before, during, after, seconds, result, memory };
  } finally {
    await server.stop();
  }
}

export function compared(seen) {
  const { before, during, after, seconds } = seen;
  const gone = during.gone > 0 ? `, ${during.gone} times 404` : '';
  return (
    `${seconds.toFixed(1)} s; p99 ${before.p99} ms before, ${during.p99} ms meanwhile, ${after.p99} ms afterwards ` +
    `(${ratio(seen)} times); slowest ${before.max} ms, ${during.max} ms and ${after.max} ms; ` +
    `${during.refused} refused, ${during.unanswered} unanswered${gone}; at ${during.rate}/s`
  );
}

/** How many times the p99 without the work the one beside it is. Of what was seen by earlier versions, there is no `after`. */
export function ratio({ before, during, after = before }) {
  return ((2 * during.p99) / (before.p99 + after.p99)).toFixed(2);
}
