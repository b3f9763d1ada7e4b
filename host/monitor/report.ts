import type { PlacedProblem } from '../placed-problem.js';

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

export interface Traffic {
  readonly requests: number;
  /** Those answered with a status from 400 to 499. */
  readonly refused: number;
  /** Those answered with a status from 500 on. */
  readonly failed: number;
}

export interface Figure {
  readonly value: number;
  /** How several become one. `count`: how much a counter went up, the others: how a gauge stands. */
  readonly combine: 'count' | 'sum' | 'max' | 'average';
}

/** One second of the whole server, all its processes together. */
export interface Sample {
  /** The end of it, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** Answers a second, and those of them with a status of 4xx and 5xx. */
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  /** Seconds; absent while nothing was answered. */
  readonly latency?: { readonly p50: number; readonly p90: number; readonly p99: number };
  /** Requests in flight at the end. */
  readonly active: number;
  /** Seconds that an event loop was late, at worst. */
  readonly delay: number;
  /** Bytes of resident memory. */
  readonly memory: number;
  /** Cores used: 0.5 is half of one. */
  readonly cpu: number;
  readonly processes: number;
  /** The plugins' own gauges, and how much their counters went up, by metric name. */
  readonly figures: Readonly<Record<string, number>>;
}

/** Something that went wrong while the server ran; what happens again and again is one problem with a count. */
export interface ServerProblem {
  /** `request`: an answer of 5xx. `reload`: one that was given up. `worker`: a process that ended unasked. */
  readonly kind: 'request' | 'reload' | 'worker';
  /** One sentence. */
  readonly message: string;
  /** When it happened first and last, in milliseconds since the Unix epoch. */
  readonly first: number;
  readonly last: number;
  readonly times: number;
  /** Of a request; `route` is the template, such as `/hello/:name`. */
  readonly method?: string;
  readonly plugin?: string;
  readonly route?: string;
  readonly status?: number;
  readonly code?: string;
  /** The latest of the requests, newest first. */
  readonly requestIds?: readonly string[];
  /** Where the plugin's code threw, relative to the INI file's folder: `plugins/hello/index.ts:3:7`. */
  readonly place?: string;
  /** What is wrong with the configuration, where that was the cause. */
  readonly problems?: readonly PlacedProblem[];
}

/** How many request ids a problem keeps. */
const MOST_IDS = 10;

/** A problem that the monitor has seen, under a number that it keeps however often it happens. */
export interface SeenProblem extends ServerProblem {
  readonly id: number;
}

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
