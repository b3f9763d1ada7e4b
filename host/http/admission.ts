import { performance } from 'node:perf_hooks';
import type Koa from 'koa';
import type { HostResponse } from './socket/response.js';

/** Requests that are answered before the event loop looks for more. */
const BATCH = 64;
/** Milliseconds after which it looks sooner: it takes but one new connection each time. */
const SLICE = 10;
/** How many of them go between two looks at the clock. */
const CLOCK = 8;

/**
 * The order in which requests are answered, and which come too late to be.
 *
 * All requests of one poll of the event loop are read before the first is answered: fewer wake-ups, and a small body has
 * arrived whole by then. Under more load than the process can carry they queue here rather than in the kernel, where
 * their waiting could not be seen. One that has waited longer than `maxDelay` is late; and while the first in the queue
 * has waited half as long, those that arrive are late at once, so that they are refused quickly and the queue stays
 * short enough for the others to be in time. Those that a client pipelines come after everybody else's, so that nobody
 * gets more than a share by asking for much at once.
 */
export class Turns {
  readonly #answer: (ctx: Koa.Context) => void;
  readonly #maxDelay: number;
  #waiting: Koa.Context[] = [];
  /** Pipelined behind an unanswered request of the same connection. */
  #behind: Koa.Context[] = [];
  #late: Koa.Context[] = [];
  #scheduled = false;

  /** `answer` finds `late` set on the responses of those to refuse. `maxDelay` is in milliseconds, 0 for no limit. */
  constructor(answer: (ctx: Koa.Context) => void, maxDelay: number) {
    this.#answer = answer;
    this.#maxDelay = maxDelay === 0 ? Number.POSITIVE_INFINITY : maxDelay;
  }

  /** `pipelined`: its client asked for it before it had the response before. */
  add(ctx: Koa.Context, pipelined: boolean): void {
    const response = ctx.res as HostResponse;
    if (pipelined) {
      this.#behind.push(ctx);
    } else {
      const first = this.#waiting[0];
      response.late =
        first !== undefined &&
        response.startedAt - (first.res as HostResponse).startedAt > this.#maxDelay / 2;
      (response.late ? this.#late : this.#waiting).push(ctx);
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
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

  /** What is left waits for the next turn. */
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
