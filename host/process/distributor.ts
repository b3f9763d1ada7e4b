import type { Socket } from 'node:net';
import type { WorkerProcess } from './worker-process.js';

/**
 * Hands connections to workers in turn, one at a time each: a worker that is busy does not pile them up while another
 * has time. While no worker is there, between a crash and its replacement, connections wait instead of being refused.
 */
export class Distributor {
  /** Longest first. */
  readonly #waiting: Socket[] = [];
  /** Idle longest first. */
  readonly #free: WorkerProcess[] = [];
  /** The connection each busy worker has been sent and has not confirmed. */
  readonly #handing = new Map<WorkerProcess, Socket>();

  /** Busy ones that get no further connection. */
  readonly #leaving = new WeakSet<WorkerProcess>();

  readonly #onEmptied: (() => void)[] = [];

  /** @param capacity how many connections may wait; more are closed at once */
  constructor(private readonly capacity: number) {}

  add(worker: WorkerProcess): void {
    this.#free.push(worker);
    worker.on('message', (message) => {
      if (message.type === 'taken') this.#taken(worker);
    });
    worker.once('exit', () => this.#gone(worker));
    this.#flow();
  }

  /** Gives the worker no further connection; those sent to it are its own. */
  remove(worker: WorkerProcess): void {
    const index = this.#free.indexOf(worker);
    if (index >= 0) this.#free.splice(index, 1);
    else this.#leaving.add(worker);
  }

  take(socket: Socket): void {
    // A client that goes away while it waits is found out by the worker.
    socket.on('error', () => {});
    if (this.#waiting.length >= this.capacity) socket.destroy();
    else {
      this.#waiting.push(socket);
      this.#flow();
    }
  }

  /** Resolves when no connection waits. */
  async emptied(): Promise<void> {
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => this.#onEmptied.push(resolve));
  }

  /** Closes every connection that no worker has. */
  close(): void {
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }

  #flow(): void {
    while (this.#free.length > 0 && this.#waiting.length > 0) {
      const socket = this.#waiting.shift() as Socket;
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
      this.#waiting.unshift(socket);
      this.#flow();
    }
  }
}
