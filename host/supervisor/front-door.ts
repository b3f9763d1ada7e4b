import { Server } from 'node:net';
import { ACCEPT_QUEUE } from '../http/socket/accept-queue.js';
import type { SocketHandle } from '../http/socket/bound-socket.js';
import { monotonic } from '../monitor/monotonic.js';
import { Capacity } from './capacity.js';
import type { ListeningSocket } from './listening-socket.js';
import { refuse } from './refusal.js';
import { StartFailure } from './start-failure.js';
import type { WorkerProcess } from './worker-process.js';

export interface FrontDoorPolicy {
  /** Milliseconds that a connection may wait to be accepted and answered; 0 for as long as it takes. */
  readonly maxDelay: number;
  readonly scheme: 'http' | 'https';
}

/** How long a worker may take to start or stop accepting, in milliseconds. */
const patience = 10_000;
/** How long clients wait while there is no worker at all, in milliseconds: a crashed one is mostly replaced by then. */
const longestVacancy = 5000;
/** How often the length of the kernel's queue is read, in milliseconds. */
const watchInterval = 100;
/** How often connections are balanced across the workers, in milliseconds. */
const balanceInterval = 1000;
/** How long connections are refused once they have waited too long, in milliseconds: what Retry-After tells clients. */
const leastRefusal = 1000;
/** A worker may exceed its share by fewer connections than this. */
const leastSurplus = 2;
/** A worker that holds more than this multiple of its share has to close connections. */
const tolerance = 1.1;

/**
 * Decides which workers accept connections from the sockets, and watches that clients do not wait too long in the kernel's
 * queue and that no worker holds more connections than its share.
 *
 * Once a client has waited for half of `maxDelay` to be accepted, those in the queue are refused. The other half is for the
 * wait inside the worker (http/admission.ts). The wait is measured, not estimated from the latest rate: a worker that the
 * system held up for a moment accepts as fast as before when it is back. The queues of several sockets count as one: a worker
 * takes from all of them in turn.
 */
export class FrontDoor {
  readonly #employed = new Set<WorkerProcess>();
  /** The sockets that each worker accepts from. */
  readonly #socketsOf = new WeakMap<WorkerProcess, readonly ListeningSocket[]>();
  readonly #capacity = new Capacity(this.#employed, (worker, refusing) => this.#offer(worker, refusing));
  #sockets: readonly ListeningSocket[] = [];
  #policy: FrontDoorPolicy = { maxDelay: 0, scheme: 'http' };
  /** Copies of the sockets, to accept from when the workers cannot. */
  readonly #spares = new Map<ListeningSocket, SocketHandle>();
  #refusers: readonly Server[] = [];
  /** `queue`: connections wait too long. `silence`: no worker responds. */
  #refusingFor: 'queue' | 'silence' | undefined;
  /** Of each reading whose connections still wait in part: its monotonic time, and how many will have left the queue then. */
  #looks: { readonly time: number; readonly left: number }[] = [];
  /** The time of the first report, of those in a row, that a connection waits too long. */
  #overdueSince: number | undefined;
  /** Connections that this process accepted, to refuse them. */
  #refused = 0;
  /** `performance.now()` */
  #refusingSince = 0;
  /** Pings since a worker last responded. Counted, not timed: the machine may have been suspended. */
  #unanswered = 0;
  readonly #queueTimer: NodeJS.Timeout;
  readonly #balanceTimer: NodeJS.Timeout;

  constructor() {
    this.#queueTimer = setInterval(() => this.#watchQueue(), watchInterval).unref();
    this.#balanceTimer = setInterval(() => this.#balance(), balanceInterval).unref();
  }

  /** Watches these sockets from now on. */
  use(sockets: readonly ListeningSocket[], policy: FrontDoorPolicy): void {
    this.#sockets = sockets;
    this.#policy = policy;
    this.#looks = [];
    for (const [other, spare] of this.#spares) {
      if (sockets.includes(other)) continue;
      spare.close();
      this.#spares.delete(other);
    }
  }

  /** Has a worker accept connections from these sockets. Rejects with a StartFailure when it cannot. */
  async employ(worker: WorkerProcess, sockets: readonly ListeningSocket[]): Promise<void> {
    if (!this.#socketsOf.has(worker)) {
      worker.on('message', (message, handle) => {
        if (message.type === 'pong' && this.#employed.has(worker)) {
          this.#unanswered = 0;
          if (this.#refusingFor === 'silence') this.#stopRefusing();
          this.#judgeQueue(message.time);
        }
        if (message.type === 'full') this.#capacity.fill(worker);
        if (message.type === 'space') this.#capacity.free(worker);
        if (message.type === 'spare') this.#keepSpare(sockets[message.listener]!, handle as SocketHandle);
      });
      worker.once('exit', () => {
        this.#employed.delete(worker);
        this.#capacity.settle();
        this.#looks = [];
      });
    }
    this.#socketsOf.set(worker, sockets);
    for (const [listener, socket] of sockets.entries()) {
      const listening = worker.until('listening', patience);
      const relayed = socket.purpose.relayed && { relayed: true as const };
      worker.send({ type: 'serve', listener, ...relayed }, socket.handle);
      const { error } = await listening;
      if (error !== undefined) throw socket.refusal(error);
    }
    if (worker.ended !== undefined)
      throw new StartFailure('A worker process ended before it accepted connections.');
    this.#employed.add(worker);
    worker.state = 'serving';
    this.#capacity.settle();
    this.#looks = [];
  }

  /** Has a worker accept no further connection; resolves when it has stopped, or has ended. False if it did neither in time. */
  async dismiss(worker: WorkerProcess): Promise<boolean> {
    this.#employed.delete(worker);
    worker.state = 'draining';
    this.#capacity.settle();
    this.#looks = [];
    if (worker.ended !== undefined) return true;
    const stopped = worker.until('stopped_accepting', patience);
    worker.send({ type: 'stop_accepting' });
    // A worker that ended or hangs accepts nothing either.
    return stopped.then(
      () => true,
      () => worker.ended !== undefined,
    );
  }

  /** Has a worker that paused accept again. */
  #offer(worker: WorkerProcess, refusing?: true): void {
    for (const [listener, socket] of this.#socketsOf.get(worker)!.entries()) {
      if (socket.canPause)
        worker.send({ type: 'serve', listener, ...(refusing && { refusing }) }, socket.handle);
    }
  }

  close(): void {
    clearInterval(this.#queueTimer);
    clearInterval(this.#balanceTimer);
    this.#stopRefusing();
    for (const spare of this.#spares.values()) spare.close();
    this.#spares.clear();
  }

  #watchQueue(): void {
    const { maxDelay } = this.#policy;
    if (maxDelay === 0) return;
    const waiting = this.#sockets.reduce((sum, socket) => sum + socket.queueLength(), 0);
    if (waiting === 0 && this.#refusingFor !== 'silence') {
      this.#unanswered = 0;
      this.#looks = [];
      this.#stopRefusing();
      return;
    }
    const silence = this.#unanswered * watchInterval;
    this.#unanswered += 1;
    for (const worker of this.#employed) worker.send({ type: 'ping' });
    this.#looks.push({ time: monotonic(), left: this.#left + waiting });
    const limit = this.#employed.size === 0 ? Math.max(maxDelay, longestVacancy) : maxDelay;
    if (silence > limit) this.#refuseFor('silence');
  }

  /**
   * Judges the queue by what a worker reported, and for the time when it did: a report may have waited for this process
   * longer than any client for a worker.
   */
  #judgeQueue(time: number): void {
    const left = this.#left;
    this.#looks = this.#looks.filter((look) => look.left > left);
    const wait = this.#looks.length === 0 ? 0 : time - this.#looks[0]!.time;
    if (wait > this.#policy.maxDelay / 2) {
      // A worker that was held up reports this before it accepts those who waited for it.
      this.#overdueSince ??= time;
      if (time - this.#overdueSince > watchInterval / 2) this.#refuseFor('queue');
      return;
    }
    this.#overdueSince = undefined;
    if (
      this.#refusingFor === 'queue' &&
      wait < 2 * watchInterval &&
      performance.now() - this.#refusingSince > leastRefusal
    ) {
      // Clients that come back at once would keep the queue from ever being empty.
      this.#stopRefusing();
    }
  }

  /** How many connections have left the queue. */
  get #left(): number {
    return [...this.#employed].reduce((sum, { accepted }) => sum + accepted, this.#refused);
  }

  /**
   * Accepts and refuses connections in this process, while the workers are busy: until the queue is empty, or until a
   * worker responds.
   */
  #refuseFor(reason: 'queue' | 'silence'): void {
    this.#refusingFor = reason;
    this.#refusingSince = performance.now();
    if (this.#refusers.length > 0) return;
    this.#refusers = this.#sockets.flatMap((socket) => this.#refuseAt(socket) ?? []);
  }

  #refuseAt(socket: ListeningSocket): Server | undefined {
    const handle = this.#spares.get(socket);
    if (handle === undefined) return undefined;
    this.#spares.delete(socket);
    const refuser = new Server({ allowHalfOpen: true }, (client) => {
      this.#refused += 1;
      // This process does not speak TLS.
      if (this.#policy.scheme === 'http') refuse(client);
      else client.destroy();
    });
    refuser.on('error', () => {});
    refuser.listen(handle, ACCEPT_QUEUE);
    return refuser;
  }

  #stopRefusing(): void {
    this.#refusingFor = undefined;
    if (this.#refusers.length === 0) return;
    for (const refuser of this.#refusers) refuser.close();
    this.#refusers = [];
    this.#looks = [];
    for (const worker of this.#employed) worker.send({ type: 'ask_spare' });
  }

  #keepSpare(socket: ListeningSocket, handle: SocketHandle): void {
    if (this.#spares.has(socket)) handle.close();
    else this.#spares.set(socket, handle);
  }

  /** The kernel may wake any worker. One that holds more than its share has to close the surplus. */
  #balance(): void {
    const workers = [...this.#employed];
    if (workers.length < 2) return;
    const share = workers.reduce((sum, { connections }) => sum + connections, 0) / workers.length;
    for (const worker of workers) {
      const surplus = Math.floor(worker.connections - share);
      if (surplus >= leastSurplus && worker.connections > tolerance * share) {
        worker.send({ type: 'shed', count: surplus });
      }
      worker.send({ type: 'ping' });
    }
  }
}
