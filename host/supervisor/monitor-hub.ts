import { dirname } from 'node:path';
import type { Asker, ReloadOutcome } from '../control.js';
import { placedProblem } from '../diagnostics/placed-problem.js';
import type { FromWorker } from '../ipc/messages.js';
import type { ReloadView, WorkerView } from '../kit/server-view.js';
import { Monitor } from '../monitor/monitor.js';
import type { WorkerProcess } from './worker-process.js';

const second = 1000;
/** Workers report at each full second. Their reports have arrived this many milliseconds later. */
const reportsAreIn = 200;

/** The monitor of the whole server: every worker reports to it, and any worker may watch it. */
export class MonitorHub {
  readonly #monitor: Monitor;
  #lastReload: ReloadView | null = null;
  readonly #watches = new Map<WorkerProcess, Map<number, () => void>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param workers reads the state of every worker */
  constructor(workers: () => readonly WorkerView[]) {
    this.#monitor = new Monitor(() => ({ workers: workers(), lastReload: this.#lastReload }));
    this.#tickNext();
  }

  /** Handles the messages of a worker that concern monitoring, and ignores the others. */
  receive(worker: WorkerProcess, message: FromWorker): void {
    if (message.type === 'report') this.#monitor.report(worker, message.report);
    else if (message.type === 'watch') {
      const { id } = message;
      const unwatch = this.#monitor.watch((event) => worker.send({ type: 'monitor', id, event }));
      const watches = this.#watches.get(worker) ?? new Map();
      this.#watches.set(worker, watches.set(id, unwatch));
    } else if (message.type === 'unwatch') {
      this.#watches.get(worker)?.get(message.id)?.();
      this.#watches.get(worker)?.delete(message.id);
    }
  }

  remove(worker: WorkerProcess): void {
    this.#monitor.remove(worker);
    for (const unwatch of this.#watches.get(worker)?.values() ?? []) unwatch();
    this.#watches.delete(worker);
  }

  addLostWorker(cause: string): void {
    this.#add({ kind: 'worker', message: `A worker process was lost (${cause}).` });
  }

  addReload(askers: readonly Asker[], outcome: ReloadOutcome, iniFile: string): void {
    const about = { time: Date.now(), askedBy: [...new Set(askers.map(({ by }) => by))] };
    if (outcome.success) {
      this.#lastReload = { ...about, success: true, reason: null, problem: null };
      return;
    }
    const { reason, problems } = outcome;
    const folder = dirname(iniFile);
    const placed = problems.map((problem) => placedProblem(problem, folder));
    this.#lastReload = { ...about, success: false, reason, problem: placed[0] ?? null };
    this.#add({ kind: 'reload', message: `Not reloaded. ${reason}`, problems: placed });
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #add(problem: Pick<Parameters<Monitor['addProblem']>[0], 'kind' | 'message' | 'problems'>): void {
    const now = Date.now();
    this.#monitor.addProblem({ ...problem, first: now, last: now, times: 1 });
  }

  #tickNext(): void {
    const pause = second - (Date.now() % second) + reportsAreIn;
    this.#timer = setTimeout(() => {
      this.#monitor.tick(Date.now());
      this.#tickNext();
    }, pause).unref();
  }
}
