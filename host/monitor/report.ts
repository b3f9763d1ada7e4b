import type { ServerProblem, Traffic } from '../kit/server-view.js';

/** What one process has seen since its last report, about a second. Plain data: it crosses between processes. */
export interface Report {
  /** How long that was, in seconds. */
  readonly seconds: number;
  /** Answers by plugin, for those that had any. */
  readonly traffic: Readonly<Record<string, Traffic>>;
  /** As `Durations.take` gives them. */
  readonly durations: readonly number[];
  /** Requests in flight. */
  readonly active: number;
  /** Seconds that the event loop was late, at worst. */
  readonly delay: number;
  /** Bytes of resident memory. */
  readonly memory: number;
  /** Seconds of CPU time used. */
  readonly cpu: number;
  /** The plugins' own gauges, and how much their counters went up, by metric name, summed over labels. */
  readonly figures: Readonly<Record<string, Figure>>;
  readonly problems: readonly ServerProblem[];
}

export interface Figure {
  readonly value: number;
  /** How several become one. `count`: how much a counter went up, the others: how a gauge stands. */
  readonly combine: 'count' | 'sum' | 'max' | 'average';
}

/** How many request ids a problem keeps. */
const MOST_IDS = 10;

/** By which two problems are the same one: whatever is thrown at one place in the code is one. */
export function problemKey({
  kind,
  method,
  plugin,
  route,
  status,
  code,
  message,
  place,
}: ServerProblem): string {
  return JSON.stringify([kind, method, plugin, route, status, code, place ?? message]);
}

/** The same problem seen twice, `later` having been seen after `earlier`. */
export function mergeProblems(earlier: ServerProblem, later: ServerProblem): ServerProblem {
  const ids = [...(later.requestIds ?? []), ...(earlier.requestIds ?? [])].slice(0, MOST_IDS);
  return {
    ...later,
    first: earlier.first,
    times: earlier.times + later.times,
    ...(ids.length > 0 && { requestIds: ids }),
  };
}
