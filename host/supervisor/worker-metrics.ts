import type { MetricReport } from '../ipc/messages.js';
import type { LineCounts } from '../log/line.js';
import { LINES_DROPPED, linesDropped } from '../monitor/lines-dropped.js';
import type { WorkerProcess } from './worker-process.js';

/** How long a worker may take to send its metrics, in milliseconds. */
const patience = 1000;

/**
 * The metrics of all workers. The counts of a worker stay in the sum when it is gone, so that a reload or a crash never
 * lowers a total. For a crashed worker, the counts are those it reported last.
 */
export class WorkerMetrics {
  readonly #live = new Set<WorkerProcess>();
  #gone: readonly MetricReport[] = [];
  #restarts = 0;
  readonly #reloads = { success: 0, failure: 0 };
  readonly #droppedLines: () => LineCounts;

  /** `droppedLines` counts the supervisor's own log lines that could not be written. */
  constructor(droppedLines: () => LineCounts) {
    this.#droppedLines = droppedLines;
  }

  add(worker: WorkerProcess): void {
    this.#live.add(worker);
  }

  remove(worker: WorkerProcess): void {
    if (this.#live.delete(worker)) this.#gone = foldTotals(this.#gone, worker.lastMetrics);
  }

  countRestart(): void {
    this.#restarts += 1;
  }

  countReload(outcome: 'success' | 'failure'): void {
    this.#reloads[outcome] += 1;
  }

  /** One report per worker, one for the workers that are gone, and one for the supervisor itself. */
  async collect(): Promise<readonly (readonly MetricReport[])[]> {
    const asked = await Promise.all(
      [...this.#live].map(async (worker) => {
        const answer = worker.until('metrics', patience);
        worker.send({ type: 'metrics' });
        try {
          return { worker, metrics: (await answer).metrics, answered: true };
        } catch {
          return { worker, metrics: worker.lastMetrics.filter(isTotal), answered: false };
        }
      }),
    );
    // A worker that ended meanwhile is already in #gone.
    const live = asked.filter(({ worker }) => this.#live.has(worker));
    const unanswered = live.filter(({ answered }) => !answered).length;
    return [this.#own(live.length, unanswered), ...live.map(({ metrics }) => metrics), this.#gone];
  }

  #own(live: number, unanswered: number): readonly MetricReport[] {
    const reloads = Object.entries(this.#reloads).map(([outcome, value]) => ({ value, labels: { outcome } }));
    const count = (value: number) => [{ value, labels: {} }];
    return [
      metric(
        'gauge',
        'plugin_server_workers',
        'Worker processes, including those that finish their last requests.',
        count(live),
      ),
      metric(
        'gauge',
        'plugin_server_workers_unanswered',
        'Worker processes whose latest metrics are missing from this response.',
        count(unanswered),
      ),
      metric(
        'counter',
        'plugin_server_worker_restarts_total',
        'Worker processes replaced after they ended unexpectedly.',
        count(this.#restarts),
      ),
      metric('counter', 'plugin_server_reloads_total', 'Reloads, by outcome.', reloads),
      metric('counter', LINES_DROPPED.name, LINES_DROPPED.help, linesDropped(this.#droppedLines())),
    ];
  }
}

function metric(type: string, name: string, help: string, values: MetricReport['values']): MetricReport {
  return { name, help, type, aggregator: 'sum', values };
}

/** A gauge describes the moment: that of a process that is gone means nothing. */
function isTotal(report: MetricReport): boolean {
  return report.type !== 'gauge' && report.aggregator === 'sum';
}

function foldTotals(sum: readonly MetricReport[], more: readonly MetricReport[]): readonly MetricReport[] {
  const byName = new Map(sum.map((report) => [report.name, report]));
  for (const report of more.filter(isTotal)) {
    const before = byName.get(report.name);
    byName.set(
      report.name,
      before === undefined ? report : { ...report, values: addValues(before.values, report.values) },
    );
  }
  return [...byName.values()];
}

function addValues(a: MetricReport['values'], b: MetricReport['values']): MetricReport['values'] {
  const byLabels = new Map<string, MetricReport['values'][number]>();
  for (const value of [...a, ...b]) {
    const key = JSON.stringify([value.metricName, Object.entries(value.labels).sort()]);
    const before = byLabels.get(key);
    byLabels.set(key, before === undefined ? value : { ...value, value: before.value + value.value });
  }
  return [...byLabels.values()];
}
