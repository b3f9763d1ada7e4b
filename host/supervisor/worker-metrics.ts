import type { MetricReport } from '../ipc/messages.js';
import type { WorkerProcess } from './worker-process.js';

/** How long a worker has to tell its metrics. Milliseconds. */
const patience = 1000;

/**
 * The metrics of all workers. What a worker counted stays in the sum when it is gone, so that no total ever goes
 * back over a reload or a crash. Of a crashed worker that is what it told last.
 */
export class WorkerMetrics {
  readonly #live = new Set<WorkerProcess>();
  #gone: readonly MetricReport[] = [];
  #restarts = 0;
  readonly #reloads = { success: 0, failure: 0 };

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

  /** One report a worker, one of those that are gone, and one of the supervisor's own. */
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
    // One that ended meanwhile has been folded in.
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
        'Worker processes, those that finish their last requests included.',
        count(live),
      ),
      metric(
        'gauge',
        'plugin_server_workers_unanswered',
        'Worker processes whose latest metrics are missing from this answer.',
        count(unanswered),
      ),
      metric(
        'counter',
        'plugin_server_worker_restarts_total',
        'Worker processes replaced after they ended unasked.',
        count(this.#restarts),
      ),
      metric('counter', 'plugin_server_reloads_total', 'Reloads, by how they ended.', reloads),
    ];
  }
}

function metric(type: string, name: string, help: string, values: MetricReport['values']): MetricReport {
  return { name, help, type, aggregator: 'sum', values };
}

/** Gauges are of the moment: those of a process that is gone mean nothing. */
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
