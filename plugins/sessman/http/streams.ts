import { randomUUID } from 'node:crypto';
import type { Channel } from 'plugin-server';
import type { EventStream } from './event-stream.js';

/**
 * What a process tells the others: of a stream, or only that it lives. `opened` is in milliseconds since 1970; without it, the
 * stream has closed.
 */
export interface StreamNews {
  readonly from: string;
  readonly stream?: { readonly handle: string; readonly id: string; readonly opened?: number };
}

/**
 * The streams of this process. Of more than 20 of a session, in all processes, the oldest goes. Each process closes its own:
 * a stream goes once 20 newer ones are open, so a process only has to know those that were opened after its first.
 */
export class Streams {
  readonly #channel: Channel<StreamNews>;
  readonly #id = randomUUID();
  readonly #bySession = new Map<string, Map<string, OpenStream>>();
  /** When each of the other processes was heard of last. */
  readonly #heardAt = new Map<string, number>();
  #beat: NodeJS.Timeout | undefined;
  #isSentAway = false;

  constructor(channel: Channel<StreamNews>) {
    this.#channel = channel;
    channel.subscribe(({ from, stream }) => {
      if (from === this.#id) return;
      this.#heardAt.set(from, performance.now());
      const known = stream && this.#bySession.get(stream.handle);
      if (!known) return;
      if (stream.opened === undefined) known.delete(stream.id);
      else known.set(stream.id, { opened: stream.opened, from });
      this.#closeOldest(known);
    });
  }

  add(handle: string, stream: EventStream, stop: () => void): void {
    const known = this.#bySession.get(handle) ?? new Map<string, OpenStream>();
    const [id, opened] = [randomUUID(), Date.now()];
    this.#bySession.set(handle, known.set(id, { opened, from: this.#id, own: stream }));
    this.#tell({ handle, id, opened });
    this.#beat ??= setInterval(() => this.#tell(), signOfLife).unref();
    this.#closeOldest(known);
    stream.body.once('close', () => {
      stop();
      known.delete(id);
      const hasOwn = [...known.values()].some(({ own }) => own !== undefined);
      if (!hasOwn && this.#bySession.get(handle) === known) this.#bySession.delete(handle);
      this.#tell({ handle, id });
      if (this.#bySession.size > 0) return;
      clearInterval(this.#beat);
      this.#beat = undefined;
      this.#heardAt.clear();
    });
  }

  sendAway(): void {
    this.#isSentAway = true;
    for (const known of this.#bySession.values()) for (const { own } of known.values()) own?.sendAway();
  }

  /** Those that come next need not know the streams of the generation that goes. */
  #tell(stream?: StreamNews['stream']): void {
    if (!this.#isSentAway) this.#channel.publish({ from: this.#id, ...(stream && { stream }) });
  }

  /** Streams of other processes are only forgotten: what they belong to closes them, or is no more. */
  #closeOldest(known: Map<string, OpenStream>): void {
    if (known.size <= mostPerSession) return;
    for (const [id, { from }] of known) if (!this.#lives(from)) known.delete(id);
    const inOrder = [...known].sort(
      ([a, { opened: at }], [b, { opened: bt }]) => at - bt || (a < b ? -1 : 1),
    );
    for (const [id, { own }] of inOrder.slice(0, Math.max(0, known.size - mostPerSession))) {
      known.delete(id);
      own?.body.end();
    }
  }

  /** A process that was killed has not told that its streams closed. */
  #lives(process: string): boolean {
    const heardAt = process === this.#id ? performance.now() : (this.#heardAt.get(process) ?? 0);
    return performance.now() - heardAt < longestSilence;
  }
}

interface OpenStream {
  readonly opened: number;
  /** The process that has it. */
  readonly from: string;
  /** The stream, if it is one of this process. */
  readonly own?: EventStream;
}

const mostPerSession = 20;
/** Milliseconds between two signs of life of a process that has streams, and until its streams no longer count. */
const signOfLife = 2000;
const longestSilence = 5000;
