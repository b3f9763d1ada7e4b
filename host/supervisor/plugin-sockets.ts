import { bindPort, type SocketHandle, systemError } from '../http/socket/bound-socket.js';
import { explainPluginListening } from '../http/socket/listen-error.js';
import type { BoundListener, PluginListener } from '../kit/plugin-listener.js';
import type { Generation } from './generation.js';
import { queueEmptied, queueLength } from './queue-length.js';
import { StartFailure } from './start-failure.js';
import type { WorkerProcess } from './worker-process.js';

interface PluginSocket {
  readonly handle: SocketHandle;
  readonly listener: PluginListener;
  readonly bound: { readonly host: string; readonly port: number };
}

/** How long a worker may take to claim a socket, or to accept from it, in milliseconds. */
const patience = 10_000;

/**
 * The sockets of the listeners that plugins open. A socket stays open while the generation in force has a listener for it, so
 * that its port is the same for all workers and no connection is lost at a reload.
 */
export class PluginSockets {
  readonly #sockets = new Map<string, PluginSocket>();
  /** The keys that each worker has asked for, and each generation in all. */
  readonly #asked = new Map<WorkerProcess, Set<string>>();
  readonly #wanted = new Map<Generation, Set<string>>();
  /** One after the other: the workers of a generation ask for the same. */
  #latest: Promise<unknown> = Promise.resolve();

  /** Binds a listener of a worker that sets its plugins up. Never rejects. */
  bind(generation: Generation, worker: WorkerProcess, listener: PluginListener): Promise<BoundListener> {
    const bound = this.#latest.then(() => this.#bind(generation, worker, listener));
    this.#latest = bound;
    return bound;
  }

  /** Has a worker accept connections from the sockets that it has asked for. Rejects with a StartFailure when it cannot. */
  async employ(worker: WorkerProcess): Promise<void> {
    for (const key of this.#asked.get(worker) ?? []) {
      const { handle, listener, bound } = this.#sockets.get(key)!;
      const accepting = worker.until('accepting', patience);
      worker.send({ type: 'accept', key }, handle);
      const { error } = await accepting;
      if (error !== undefined) {
        const reason = explainPluginListening(systemError(error), bound.host, bound.port);
        throw new StartFailure(`The listener of plugin "${listener.plugin}" failed: ${reason}.`);
      }
    }
  }

  /** The worker has ended. */
  forget(worker: WorkerProcess): void {
    this.#asked.delete(worker);
  }

  /**
   * The generation is about to accept no further connections. Closes the sockets that no other generation uses, after its workers
   * have had `limit` milliseconds to accept those that wait there: closing the last copy of a socket resets them. A worker that
   * closes it between two accepts is the last.
   */
  async abandon(generation: Generation, limit: number): Promise<void> {
    this.#wanted.delete(generation);
    const wanted = new Set([...this.#wanted.values()].flatMap((keys) => [...keys]));
    const abandoned = [...this.#sockets].filter(([key]) => !wanted.has(key));
    for (const [key] of abandoned) this.#sockets.delete(key);
    await Promise.all(
      abandoned.map(async ([, { handle, bound }]) => {
        await queueEmptied(() => queueLength(bound.host, bound.port), limit);
        handle.close();
      }),
    );
  }

  async #bind(
    generation: Generation,
    worker: WorkerProcess,
    listener: PluginListener,
  ): Promise<BoundListener> {
    const { key, host, port } = listener;
    try {
      const socket = this.#sockets.get(key) ?? (await this.#open(worker, listener));
      this.#asked.set(worker, (this.#asked.get(worker) ?? new Set()).add(key));
      this.#wanted.set(generation, (this.#wanted.get(generation) ?? new Set()).add(key));
      return socket.bound;
    } catch (error) {
      return { error: explainPluginListening(error as NodeJS.ErrnoException, host, port) };
    }
  }

  async #open(worker: WorkerProcess, listener: PluginListener): Promise<PluginSocket> {
    const { handle, ...bound } = await bindPort(listener.host, listener.port);
    const claimed = worker.until('listener_claimed', patience);
    worker.send({ type: 'claim_listener' }, handle);
    try {
      const { error } = await claimed;
      if (error !== undefined) throw systemError(error);
    } catch (error) {
      handle.close();
      throw error;
    }
    const socket = { handle, listener, bound };
    this.#sockets.set(listener.key, socket);
    return socket;
  }
}
