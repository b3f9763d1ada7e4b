import type { ServerProblem, Traffic } from '../kit/server-view.js';

/** What one process has counted since its last report, about a second ago. Plain data, sent between processes. */
export interface Report {
  /** The length of that time, in seconds. */
  readonly seconds: number;
  /** Responses by plugin, for plugins that had any. */
  readonly traffic: Readonly<Record<string, Traffic>>;
  /** As `Durations.take` returns them. */
  readonly durations: readonly number[];
  /** Requests in flight. */
  readonly active: number;
  /** Open connections, also those of event streams and WebSockets. */
  readonly connections: number;
  /** The longest delay of the event loop, in seconds. */
  readonly delay: number;
  /** Bytes of resident memory. */
  readonly memory: number;
  /** Seconds of CPU time used. */
  readonly cpu: number;
  /** The plugins' gauges, and the increase of their counters, by metric name, summed over labels. */
  readonly figures: Readonly<Record<string, Figure>>;
  readonly problems: readonly ServerProblem[];
}

export interface Figure {
  readonly value: number;
  /** How several values are combined. `count`: the increase of a counter. Others: the value of a gauge. */
  readonly combine: 'count' | 'sum' | 'max' | 'average';
}

/** How many request ids are kept for a problem. */
const MOST_IDS = 10;

/** Two problems with the same key are one problem: errors thrown at the same place in the code, for example. */
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

/** Merges two sightings of the same problem. */
export function mergeProblems(earlier: ServerProblem, later: ServerProblem): ServerProblem {
  const ids = [...(later.requestIds ?? []), ...(earlier.requestIds ?? [])].slice(0, MOST_IDS);
  return {
    ...later,
    first: earlier.first,
    times: earlier.times + later.times,
    ...(ids.length > 0 && { requestIds: ids }),
  };
}
