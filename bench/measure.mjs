import { Calls } from './calls.mjs';
import { Contest } from './contest.mjs';

/**
 * Measures one row: round after round, each contestant in turn, in an order that moves on by one every round.
 *
 * @param {object} row of rows.mjs
 * @param {object} options
 * @param {number} options.rounds
 * @param {number} options.seconds of load in a round
 * @param {boolean} options.keepServers start each server once and let it idle while others are measured, which saves
 *   time; else each round starts its servers anew and one runs at a time
 * @param {string} options.folder for all that the servers write
 * @param {Map<string, object>} options.stores see Contest.open
 * @param {(contestant: string) => Record<string, string>} [options.environment] added to a server's environment
 * @param {(round: number, contestant: string, sample: object) => void} options.onSample
 * @returns {Promise<Map<string, object>>} by contestant, the median of each figure, and the samples
 */
export async function measureRow(
  row,
  { rounds, seconds, keepServers, folder, stores, environment, onSample },
) {
  const samples = new Map(row.contestants.map((name) => [name, []]));
  const running = new Map();
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const name of rotated(row.contestants, round)) {
        const contest =
          running.get(name) ??
          (row.measure === 'calls'
            ? await Calls.open(name, row, folder)
            : await Contest.open(name, row, folder, stores, environment?.(name)));
        running.set(name, contest);
        const sample = await take(contest, row, seconds);
        samples.get(name).push(sample);
        onSample(round, name, sample);
        if (!keepServers) {
          running.delete(name);
          await contest.close();
        }
      }
    }
  } finally {
    for (const contest of running.values()) await contest.close();
  }
  return new Map([...samples].map(([name, list]) => [name, { ...medians(list), samples: list }]));
}

function take(contest, { measure }, seconds) {
  if (measure === 'calls') return contest.underCalls(seconds);
  if (measure === 'start') return contest.atRest();
  return measure === 'idle' ? contest.withIdleConnections() : contest.underLoad(seconds);
}

function rotated(list, by) {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

function medians(samples) {
  return Object.fromEntries(
    Object.keys(samples[0]).map((figure) => [figure, median(samples.map((sample) => sample[figure]))]),
  );
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
