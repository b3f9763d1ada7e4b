import { Backlog } from './backlog.js';
import { RECEIVER_LIMITS } from './message.js';

export interface SubscriberOptions {
  readonly handler: (value: never) => unknown;
  readonly onError: (error: unknown) => void;
  readonly onDropped: (count: number) => void;
}

/** One subscription: calls its handler with one value after another. */
export class Subscriber {
  readonly #options: SubscriberOptions;
  readonly #backlog = new Backlog();
  #running = false;
  #trimming = false;
  #ended = false;

  constructor(options: SubscriberOptions) {
    this.#options = options;
  }

  push(json: string): void {
    if (this.#ended) return;
    this.#backlog.push(json);
    if (!this.#running) this.#run();
    if (this.#trimming || this.#backlog.length === 0) return;
    this.#trimming = true;
    // By then, a handler that keeps up has handled all values that arrived together.
    setImmediate(() => {
      this.#trimming = false;
      const dropped = this.#backlog.trim(RECEIVER_LIMITS);
      if (dropped > 0) this.#options.onDropped(dropped);
    });
  }

  end(): void {
    this.#ended = true;
    this.#backlog.clear();
  }

  async #run(): Promise<void> {
    const { handler, onError } = this.#options;
    this.#running = true;
    for (let json = this.#backlog.shift(); json !== undefined; json = this.#backlog.shift()) {
      try {
        const result = handler(JSON.parse(json) as never);
        if (result instanceof Promise) await result;
      } catch (error) {
        onError(error);
      }
    }
    this.#running = false;
  }
}
