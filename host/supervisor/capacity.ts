import type { WorkerProcess } from './worker-process.js';

/**
 * Where new connections go while some workers hold as many as they may. A full worker has paused: it has closed its copy of the
 * socket, and gets another when it has space. Only when all are full do they accept, to refuse with a 503.
 */
export class Capacity {
  readonly #employed: ReadonlySet<WorkerProcess>;
  readonly #offer: (worker: WorkerProcess, refusing?: true) => void;
  readonly #full = new Map<WorkerProcess, 'paused' | 'refusing'>();

  /** `employed` are the workers that accept, the paused ones included. `offer` has one accept again. */
  constructor(employed: ReadonlySet<WorkerProcess>, offer: (worker: WorkerProcess, refusing?: true) => void) {
    this.#employed = employed;
    this.#offer = offer;
  }

  /** A worker has reached its limit, and paused. */
  fill(worker: WorkerProcess): void {
    if (!this.#employed.has(worker)) return;
    this.#full.set(worker, 'paused');
    this.settle();
  }

  /** A full worker has space again. */
  free(worker: WorkerProcess): void {
    const state = this.#full.get(worker);
    this.#full.delete(worker);
    if (state === 'paused') this.#offer(worker);
    this.settle();
  }

  /** Call when a worker has come or gone. */
  settle(): void {
    for (const worker of this.#full.keys()) if (!this.#employed.has(worker)) this.#full.delete(worker);
    const isFull = this.#full.size === this.#employed.size;
    for (const [worker, state] of this.#full) {
      if (isFull && state === 'paused') {
        this.#offer(worker, true);
        this.#full.set(worker, 'refusing');
      } else if (!isFull && state === 'refusing') {
        worker.send({ type: 'pause' });
        this.#full.set(worker, 'paused');
      }
    }
  }
}
