import type { Socket } from 'node:net';
import type { WorkerProcess } from './worker-process.js';

/**
 * Hands connections to workers in turn, one at a time each: a worker that is busy does not pile them up while another
 * has time. While no worker is there, between a crash and its replacement, connections wait instead of being refused.
 * While workers are there and have no time for them, they wait no longer than `patience`, then new ones are refused.
 */
export class Distributor {
  /** Longest first. */
  readonly #waiting: { readonly socket: Socket; readonly since: number }[] = [];
  /** Idle longest first. */
  readonly #free: WorkerProcess[] = [];
  /** The connection each busy worker has been sent and has not confirmed. */
  readonly #handing = new Map<WorkerProcess, Socket>();

  /** Busy ones that get no further connection. */
  readonly #leaving = new WeakSet<WorkerProcess>();

  readonly #onEmptied: (() => void)[] = [];

  /** Those that get connections. */
  readonly #employed = new Set<WorkerProcess>();
  /** When the first of them was added. */
  #employedSince = 0;
  /**
   * Milliseconds that the first in the row may have waited before new ones are refused; twice as long, and it is refused
   * itself.
   */
  patience = Number.POSITIVE_INFINITY;
  readonly #watch = setInterval(() => {
    while (this.#isBusy(2 * this.patience)) this.refuse(this.#waiting.shift()!.socket);
  }, 100).unref();

  /**
   * @param capacity how many connections may wait
   * @param refuse what is done with one more
   */
  constructor(
    private readonly capacity: number,
    private readonly refuse: (socket: Socket) => void,
  ) {}

  add(worker: WorkerProcess): void {
    this.#free.push(worker);
    if (this.#employed.size === 0) this.#employedSince = performance.now();
    this.#employed.add(worker);
    worker.on('message', (message) => {
      if (message.type === 'taken') this.#taken(worker);
    });
    worker.once('exit', () => this.#gone(worker));
    this.#flow();
  }

  /** Gives the worker no further connection; those sent to it are its own. */
  remove(worker: WorkerProcess): void {
    this.#employed.delete(worker);
    const index = this.#free.indexOf(worker);
    if (index >= 0) this.#free.splice(index, 1);
    else this.#leaving.add(worker);
  }

  take(socket: Socket): void {
    // A client that goes away while it waits is found out by the worker.
    socket.on('error', () => {});
    if (this.#waiting.length >= this.capacity || this.#isBusy(this.patience)) this.refuse(socket);
    else {
      this.#waiting.push({ socket, since: performance.now() });
      this.#flow();
    }
  }

  /** Resolves when no connection waits. */
  async emptied(): Promise<void> {
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => this.#onEmptied.push(resolve));
  }

  /** Closes every connection that no worker has. */
  close(): void {
    clearInterval(this.#watch);
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
  }

  #isBusy(patience: number): boolean {
    const first = this.#waiting[0];
    if (first === undefined || this.#employed.size === 0) return false;
    return performance.now() - Math.max(first.since, this.#employedSince) > patience;
  }

  #flow(): void {
    while (this.#free.length > 0 && this.#waiting.length > 0) {
      const { socket } = this.#waiting.shift()!;
      if (socket.destroyed) continue;
      const worker = this.#free.shift() as WorkerProcess;
      this.#handing.set(worker, socket);
      worker.hand(socket);
    }
    if (this.#waiting.length === 0) for (const resolve of this.#onEmptied.splice(0)) resolve();
  }

  #taken(worker: WorkerProcess): void {
    // The worker holds its own copy of the descriptor: this closes ours, not the connection.
    this.#handing.get(worker)?.destroy();
    this.#handing.delete(worker);
    if (!this.#leaving.has(worker)) this.#free.push(worker);
    this.#flow();
  }

  #gone(worker: WorkerProcess): void {
    this.remove(worker);
    const socket = this.#handing.get(worker);
    this.#handing.delete(worker);
    if (socket !== undefined) {
      this.#waiting.unshift({ socket, since: performance.now() });
      this.#flow();
    }
  }
}
