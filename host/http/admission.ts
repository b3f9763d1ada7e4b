import { performance } from 'node:perf_hooks';
import type Koa from 'koa';
import type { HostResponse } from './socket/response.js';

/** How many requests are answered before the event loop looks for more. */
const BATCH = 64;
/** Milliseconds after which it looks earlier, because it accepts only one connection each time. */
const SLICE = 10;
/** How many requests are answered between two readings of the clock. */
const CLOCK = 8;

/** While connections come in, so many requests are gathered before they are answered … */
const GATHERED = 16;
/** … or as many as have come in so many milliseconds. */
const GATHERING = 1;

/**
 * Decides the order in which requests are answered, and which are too late.
 *
 * All requests of one poll of the event loop are read before the first is answered: this saves wake-ups, and a small body
 * has arrived completely by then. Under overload, requests queue here instead of in the kernel, so that their wait is
 * known. A request that has waited longer than `maxDelay` is late. While the first in the queue has waited half as long,
 * new requests are late on arrival: they are refused quickly, and the queue stays short enough for the others to be in
 * time. Pipelined requests come last, so that no client gets more than its share.
 *
 * A poll accepts one connection, so that clients that open one for each request would be answered one by one. While every
 * poll accepts another, the first requests wait for those that come with it: answering several in a row takes two thirds of
 * the time, since the code is still in the processor's caches and the clients on the same machine are not woken up for each.
 */
export class Turns {
  readonly #answer: (ctx: Koa.Context) => void;
  readonly #maxDelay: number;
  #waiting: Koa.Context[] = [];
  /** Requests pipelined behind an unanswered request of the same connection. */
  #behind: Koa.Context[] = [];
  #late: Koa.Context[] = [];
  #scheduled = false;
  /** A connection has been accepted since the last turn, whose request is about to arrive. */
  #expecting = false;
  /** The turn has been put off: how long its first request waits then says nothing of the load. */
  #gathering = false;

  /** `answer` finds `late` set on the responses of those to refuse. `maxDelay` is in milliseconds, 0 for no limit. */
  constructor(answer: (ctx: Koa.Context) => void, maxDelay: number) {
    this.#answer = answer;
    this.#maxDelay = maxDelay === 0 ? Number.POSITIVE_INFINITY : maxDelay;
  }

  /** `pipelined`: the client sent it before it had received the previous response. */
  add(ctx: Koa.Context, pipelined: boolean): void {
    const response = ctx.res as HostResponse;
    if (pipelined) {
      this.#behind.push(ctx);
    } else {
      const first = this.#waiting[0];
      response.late =
        first !== undefined &&
        !this.#gathering &&
        response.startedAt - (first.res as HostResponse).startedAt > this.#maxDelay / 2;
      (response.late ? this.#late : this.#waiting).push(ctx);
    }
    this.#schedule();
  }

  /** A connection has been accepted. */
  expect(): void {
    this.#expecting = true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#gathering = this.#gathers();
    if (this.#gathering) {
      this.#schedule();
      return;
    }
    const late = this.#late;
    if (late.length > 0) {
      this.#late = [];
      for (const ctx of late) this.#answer(ctx);
    }
    const batch = this.#nextBatch();
    const begun = performance.now();
    let now = begun;
    for (let i = 0; i < batch.length; i += 1) {
      if (i % CLOCK === 0 && i > 0) {
        now = performance.now();
        if (now - begun > SLICE) {
          this.#waiting = batch.slice(i).concat(this.#waiting);
          this.#schedule();
          return;
        }
      }
      const ctx = batch[i]!;
      const response = ctx.res as HostResponse;
      response.late = now - response.startedAt > this.#maxDelay;
      this.#answer(ctx);
    }
  };

  #gathers(): boolean {
    const expecting = this.#expecting;
    this.#expecting = false;
    const first = this.#waiting[0];
    if (!expecting || first === undefined || this.#waiting.length >= GATHERED) return false;
    return performance.now() - (first.res as HostResponse).startedAt < GATHERING;
  }

  /** The rest waits for the next turn. */
  #nextBatch(): Koa.Context[] {
    const waiting = this.#waiting;
    if (waiting.length <= BATCH && this.#behind.length === 0) {
      this.#waiting = [];
      return waiting;
    }
    const batch = waiting.slice(0, BATCH);
    this.#waiting = waiting.slice(BATCH);
    batch.push(...this.#behind.splice(0, BATCH - batch.length));
    if (this.#waiting.length > 0 || this.#behind.length > 0) {
      this.#schedule();
    }
    return batch;
  }
}
