import type {
  MonitorEvent,
  Sample,
  SeenProblem,
  ServerProblem,
  Traffic,
  WorkersView,
} from '../kit/server-view.js';
import { percentiles } from './durations.js';
import { type Figure, mergeProblems, problemKey, type Report } from './report.js';

/** How many seconds of samples are kept, and how many different problems. */
export const HISTORY = 600;
const MOST_PROBLEMS = 200;

/** Collects the reports of all processes. */
export interface MonitorLink {
  report(report: Report): void;
  /** Calls the listener with a `history` first. The returned function ends the watch. */
  watch(listener: (event: MonitorEvent) => void): () => void;
}

/**
 * Adds up the reports of all processes second by second. It keeps the last minutes and the latest problems, both limited
 * in number. It runs in the supervisor, so that a reload does not empty it.
 */
export class Monitor {
  readonly #samples: Sample[] = [];
  /** The problem seen last comes last. */
  readonly #problems = new Map<string, SeenProblem>();
  #count = 0;
  readonly #listeners = new Set<(event: MonitorEvent) => void>();
  /** The reports of each source since the last tick, and its latest report. */
  readonly #sources = new Map<unknown, { fresh: Report[]; latest: Report }>();

  /** @param workers reads the state of the workers, for each watcher at first and with each sample */
  constructor(private readonly workers: () => WorkersView) {}

  report(source: unknown, report: Report): void {
    const known = this.#sources.get(source);
    if (known === undefined) this.#sources.set(source, { fresh: [report], latest: report });
    else {
      known.fresh.push(report);
      known.latest = report;
    }
    for (const problem of report.problems) this.addProblem(problem);
  }

  /** The source has ended. Its samples stay. */
  remove(source: unknown): void {
    this.#sources.delete(source);
  }

  addProblem(problem: ServerProblem): void {
    const key = problemKey(problem);
    const earlier = this.#problems.get(key);
    if (earlier === undefined) this.#count += 1;
    const merged =
      earlier === undefined
        ? { ...problem, id: this.#count }
        : { ...mergeProblems(earlier, problem), id: earlier.id };
    this.#problems.delete(key);
    this.#problems.set(key, merged);
    if (this.#problems.size > MOST_PROBLEMS) this.#problems.delete(this.#problems.keys().next().value!);
    this.#tell({ type: 'problem', problem: merged });
  }

  /** Makes a sample of the reports since the last tick. `time` is now. */
  tick(time: number): void {
    const sources = [...this.#sources.values()];
    if (sources.length === 0) return;
    const { sample, traffic } = combine(
      time,
      sources.flatMap(({ fresh }) => fresh),
      sources.map(({ latest }) => latest),
    );
    for (const source of sources) source.fresh = [];
    this.#samples.push(sample);
    if (this.#samples.length > HISTORY) this.#samples.shift();
    this.#tell({ type: 'sample', sample, traffic, ...this.workers() });
  }

  watch(listener: (event: MonitorEvent) => void): () => void {
    this.#listeners.add(listener);
    listener({
      type: 'history',
      samples: [...this.#samples],
      problems: [...this.#problems.values()],
      ...this.workers(),
    });
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #tell(event: MonitorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** `fresh` has the counts to add up, `latest` the current state of each process. */
function combine(time: number, fresh: readonly Report[], latest: readonly Report[]) {
  const seconds = Math.max(...fresh.map((report) => report.seconds), 1);
  const traffic: Record<string, Traffic> = {};
  const total = { requests: 0, refused: 0, failed: 0 };
  for (const report of fresh) {
    for (const [plugin, { requests, refused, failed }] of Object.entries(report.traffic)) {
      const before = traffic[plugin] ?? { requests: 0, refused: 0, failed: 0 };
      traffic[plugin] = {
        requests: before.requests + requests,
        refused: before.refused + refused,
        failed: before.failed + failed,
      };
      total.requests += requests;
      total.refused += refused;
      total.failed += failed;
    }
  }
  const found = percentiles(
    fresh.map((report) => report.durations),
    0.5,
    0.9,
    0.99,
  );
  const sample: Sample = {
    time,
    requests: total.requests / seconds,
    refused: total.refused / seconds,
    failed: total.failed / seconds,
    ...(found !== undefined && { latency: { p50: found[0]!, p90: found[1]!, p99: found[2]! } }),
    active: sum(latest.map((report) => report.active)),
    delay: Math.max(0, ...fresh.map((report) => report.delay)),
    memory: sum(latest.map((report) => report.memory)),
    cpu: sum(fresh.map((report) => report.cpu)) / seconds,
    processes: latest.length,
    figures: combineFigures(fresh, latest),
  };
  return { sample, traffic };
}

/** Counters from `fresh`, gauges from `latest`. */
function combineFigures(fresh: readonly Report[], latest: readonly Report[]): Record<string, number> {
  const all = new Map<string, Figure[]>();
  const collect = (reports: readonly Report[], isCounter: boolean) => {
    for (const { figures } of reports) {
      for (const [name, figure] of Object.entries(figures)) {
        if ((figure.combine === 'count') !== isCounter) continue;
        const list = all.get(name);
        if (list === undefined) all.set(name, [figure]);
        else list.push(figure);
      }
    }
  };
  collect(fresh, true);
  collect(latest, false);
  return Object.fromEntries([...all].map(([name, figures]) => [name, combineFigure(figures)]));
}

function combineFigure(figures: readonly Figure[]): number {
  const values = figures.map((figure) => figure.value);
  const { combine } = figures[0]!;
  if (combine === 'max') return Math.max(...values);
  return combine === 'average' ? sum(values) / values.length : sum(values);
}

function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** For a server in a single process: each report is one second of it. */
export class LocalMonitor implements MonitorLink {
  #connections = 0;
  readonly #monitor = new Monitor(() => ({
    workers: [
      {
        pid: process.pid,
        state: 'serving',
        generation: 1,
        connections: this.#connections,
        forOperators: false,
      },
    ],
    lastReload: null,
  }));

  report(report: Report): void {
    this.#connections = report.connections;
    this.#monitor.report(this, report);
    this.#monitor.tick(Date.now());
  }

  watch(listener: (event: MonitorEvent) => void): () => void {
    return this.#monitor.watch(listener);
  }
}
