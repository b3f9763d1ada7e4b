import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { ServerProblem, Traffic } from '../kit/server-view.js';
import type { Metrics } from './metrics.js';
import { type Figure, mergeProblems, problemKey, type Report } from './report.js';

export interface ReporterOptions {
  readonly metrics: Metrics;
  /** How many connections are open. */
  readonly connections: () => number;
  readonly send: (report: Report) => void;
}

const SECOND = 1000;
/** Milliseconds. */
const DELAY_RESOLUTION = 20;
/** How many different problems are reported per second. */
const MOST_PROBLEMS = 20;

/**
 * Reports each second what this process has done. It reports at full seconds of the clock, so that the reports of all
 * processes describe the same second.
 */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION });
  readonly #problems = new Map<string, ServerProblem>();
  /** The counters at the previous report. */
  readonly #counters = new Map<string, number>();
  #figures: Readonly<Record<string, Figure>> = {};
  #memory = 0;
  #reading = false;
  #timer: NodeJS.Timeout | undefined;
  #then = performance.now();
  #cpu = process.cpuUsage();

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#delay.enable();
    this.#schedule();
  }

  addProblem(problem: ServerProblem): void {
    const key = problemKey(problem);
    const earlier = this.#problems.get(key);
    if (earlier === undefined && this.#problems.size >= MOST_PROBLEMS) return;
    this.#problems.set(key, earlier === undefined ? problem : mergeProblems(earlier, problem));
  }

  /** Sends a last report, and stops. */
  close(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#report();
    this.#delay.disable();
  }

  #schedule(): void {
    this.#timer = setTimeout(
      () => {
        this.#report();
        this.#schedule();
      },
      SECOND - (Date.now() % SECOND),
    );
    this.#timer.unref();
  }

  #report(): void {
    const { metrics, connections, send } = this.#options;
    const now = performance.now();
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    send({
      seconds: (now - this.#then) / SECOND,
      traffic: Object.fromEntries(takeTraffic(metrics)),
      durations: metrics.durations.take(),
      active: metrics.active,
      connections: connections(),
      delay: Math.max(0, this.#delay.max / 1e9 - DELAY_RESOLUTION / SECOND),
      memory: this.#residentMemory(),
      cpu: (user + system) / 1e6,
      figures: this.#figures,
      problems: [...this.#problems.values()],
    });
    this.#then = now;
    this.#delay.reset();
    this.#problems.clear();
    this.#readFigures();
  }

  /** Node reads a file for this, which fails when the process has no file descriptor left. */
  #residentMemory(): number {
    try {
      this.#memory = process.memoryUsage.rss();
    } catch {
      // The value of a second ago stays.
    }
    return this.#memory;
  }

  /** Reads the plugins' metrics for the next report, not this one: some may query a slow database. */
  async #readFigures(): Promise<void> {
    this.#figures = Object.fromEntries(
      Object.entries(this.#figures).filter(([, { combine }]) => combine !== 'count'),
    );
    if (this.#reading) return;
    this.#reading = true;
    const figures: Record<string, Figure> = {};
    for (const metric of this.#options.metrics.ofPlugins.metrics) {
      if (metric.type === 'histogram') continue;
      try {
        const { name, values, aggregator } = await metric.get();
        const value = values.reduce((total, each) => total + each.value, 0);
        if (metric.type === 'counter') {
          figures[name] = { value: value - (this.#counters.get(name) ?? 0), combine: 'count' };
          this.#counters.set(name, value);
        } else if (values.length > 0) figures[name] = { value, combine: combination(aggregator) };
      } catch {
        // A gauge whose source is unreachable has no value now.
      }
    }
    this.#figures = figures;
    this.#reading = false;
  }
}

function* takeTraffic(metrics: Metrics): Generator<[plugin: string, Traffic]> {
  for (const [plugin, tally] of metrics.tallies) {
    const { requests, refused, failed } = tally;
    if (requests === 0) continue;
    yield [plugin, { requests, refused, failed }];
    tally.requests = 0;
    tally.refused = 0;
    tally.failed = 0;
  }
}

/** From prom-client's name for how the values of workers are combined. */
function combination(aggregator: string): Figure['combine'] {
  if (aggregator === 'average') return 'average';
  return aggregator === 'sum' ? 'sum' : 'max';
}
