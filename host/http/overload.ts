import type { Logger } from 'pino';

/** Milliseconds. */
const LOG_INTERVAL = 1000;

/** Logs once a second how many requests were refused, while there are any. */
export class OverloadLog {
  readonly #log: Logger;
  #refused = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  count(): void {
    this.#refused += 1;
    this.#timer ??= setTimeout(() => {
      this.#log.warn({ refused: this.#refused }, 'overloaded: requests that waited too long received 503');
      this.#refused = 0;
      this.#timer = undefined;
    }, LOG_INTERVAL).unref();
  }
}
