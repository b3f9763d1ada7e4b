import { randomUUID } from 'node:crypto';
import type { Channel } from 'plugin-server';
import type { EventStream } from './event-stream.js';

/** What a process tells the others of a stream. `opened` is in milliseconds since 1970; without it, the stream has closed. */
export interface StreamNews {
  readonly handle: string;
  readonly id: string;
  readonly opened?: number;
}

/**
 * The streams of this process. Of more than 20 of a session, in all processes, the oldest goes. Each process closes its own:
 * a stream goes once 20 newer ones are open, so a process only has to know those that were opened after its first.
 */
export class Streams {
  readonly #channel: Channel<StreamNews>;
  readonly #bySession = new Map<string, Map<string, OpenStream>>();
  #isSentAway = false;

  constructor(channel: Channel<StreamNews>) {
    this.#channel = channel;
    channel.subscribe(({ handle, id, opened }) => {
      const known = this.#bySession.get(handle);
      if (known === undefined || known.get(id)?.own) return;
      if (opened === undefined) known.delete(id);
      else known.set(id, { opened });
      closeOldest(known);
    });
  }

  add(handle: string, stream: EventStream, stop: () => void): void {
    const known = this.#bySession.get(handle) ?? new Map<string, OpenStream>();
    const [id, opened] = [randomUUID(), Date.now()];
    this.#bySession.set(handle, known.set(id, { opened, own: stream }));
    if (!this.#isSentAway) this.#channel.publish({ handle, id, opened });
    closeOldest(known);
    stream.body.once('close', () => {
      stop();
      known.delete(id);
      const hasOwn = [...known.values()].some(({ own }) => own !== undefined);
      if (!hasOwn && this.#bySession.get(handle) === known) this.#bySession.delete(handle);
      // Those that come next do not know the streams of the generation that goes.
      if (!this.#isSentAway) this.#channel.publish({ handle, id });
    });
  }

  sendAway(): void {
    this.#isSentAway = true;
    for (const known of this.#bySession.values()) for (const { own } of known.values()) own?.sendAway();
  }
}

interface OpenStream {
  readonly opened: number;
  /** The stream, if it is one of this process. */
  readonly own?: EventStream;
}

/** Streams of other processes are only forgotten: what they belong to closes them. */
function closeOldest(known: Map<string, OpenStream>): void {
  if (known.size <= mostPerSession) return;
  const inOrder = [...known].sort(([a, { opened: at }], [b, { opened: bt }]) => at - bt || (a < b ? -1 : 1));
  for (const [id, { own }] of inOrder.slice(0, -mostPerSession)) {
    known.delete(id);
    own?.body.end();
  }
}

const mostPerSession = 20;
