import type { MetricReport } from '../ipc/messages.js';
import type { LineCounts } from '../log/line.js';
import { LINES_DROPPED, linesDropped } from '../monitor/lines-dropped.js';
import { combineReports } from '../monitor/metric-report.js';
import { anonymousMemory } from './worker-memory.js';
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
    if (this.#live.delete(worker)) {
      this.#gone = combineReports([this.#gone, worker.lastMetrics.filter(isTotal)]);
    }
  }

  countRestart(): void {
    this.#restarts += 1;
  }

  countReload(outcome: 'success' | 'failure'): void {
    this.#reloads[outcome] += 1;
  }

  /** Asks all workers. Those that are gone, and the supervisor itself, are included. */
  async collect(): Promise<readonly MetricReport[]> {
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
    const workers = live.filter(({ worker }) => !worker.isFront);
    const unanswered = workers.flatMap(({ worker, answered }) => (answered ? [] : [worker.pid!]));
    return combineReports([
      [...this.#own(workers.length, unanswered), this.#memory()],
      ...live.map(({ metrics }) => metrics),
      this.#gone,
    ]);
  }

  #memory(): MetricReport {
    const values = [...this.#live].flatMap(({ pid, isFront }) => {
      const value = isFront ? undefined : anonymousMemory(pid);
      return value === undefined ? [] : [{ value, labels: { worker: pid! } }];
    });
    return metric(
      'gauge',
      'plugin_server_worker_memory_bytes',
      'Memory of each worker, by its process id, without mapped files: what worker_memory limits.',
      values,
    );
  }

  #own(live: number, unanswered: readonly number[]): readonly MetricReport[] {
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
        count(unanswered.length),
      ),
      metric(
        'gauge',
        'plugin_server_worker_unanswered',
        'Each of those worker processes, by its process id.',
        unanswered.map((pid) => ({ value: 1, labels: { pid } })),
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
