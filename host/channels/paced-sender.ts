import { Backlog } from './backlog.js';
import type { Limits, Loss, Message } from './message.js';

/** Sends messages to another process, and calls `done` when the system has taken them. */
export type Send = (messages: readonly Message[], losses: readonly Loss[], done: () => void) => void;

/** How many bytes may be in the hands of the system before it has sent them. */
const WINDOW = 1024 * 1024;
/** Bytes of messages that are sent together. */
const CHUNK = 65_536;
/** Beyond this multiple of what may wait, values are dropped at once, not at the end of the turn. */
const EXCESS = 16;

/**
 * Sends messages no faster than the other process reads them. The number of waiting messages per topic is limited; beyond
 * that, the oldest are dropped. All messages of one turn of the event loop are sent together.
 */
export class PacedSender {
  readonly #send: Send;
  readonly #limits: Limits;
  readonly #backlogs = new Map<string, Backlog>();
  readonly #losses = new Map<string, number>();
  #inFlight = 0;
  #scheduled = false;
  #idle = () => {};

  constructor(send: Send, limits: Limits) {
    this.#send = send;
    this.#limits = limits;
  }

  push([topic, json]: Message): void {
    let backlog = this.#backlogs.get(topic);
    if (backlog === undefined) {
      backlog = new Backlog();
      this.#backlogs.set(topic, backlog);
    }
    backlog.push(json);
    const { values, bytes } = this.#limits;
    this.#drop(topic, backlog.trim({ values: values * EXCESS, bytes: bytes * 2 }));
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
      for (const [each, waiting] of this.#backlogs) this.#drop(each, waiting.trim(this.#limits));
    });
  }

  /** Resolves when all waiting messages have been sent. */
  async emptied(): Promise<void> {
    this.#flush();
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  #flush(): void {
    while (this.#inFlight < WINDOW) {
      const messages: Message[] = [];
      let size = 0;
      for (const [topic, backlog] of this.#backlogs) {
        while (size < CHUNK) {
          const json = backlog.shift();
          if (json === undefined) break;
          messages.push([topic, json]);
          size += json.length;
        }
        if (backlog.length === 0) this.#backlogs.delete(topic);
        if (size >= CHUNK) break;
      }
      if (messages.length === 0) return;
      const losses = [...this.#losses];
      this.#losses.clear();
      this.#inFlight += size;
      this.#send(messages, losses, () => {
        this.#inFlight -= size;
        this.#flush();
        if (this.#inFlight === 0) this.#idle();
      });
    }
  }

  #drop(topic: string, count: number): void {
    if (count > 0) this.#losses.set(topic, (this.#losses.get(topic) ?? 0) + count);
  }
}
