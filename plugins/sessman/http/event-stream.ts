import { PassThrough } from 'node:stream';

/** One client's stream of server-sent events (html.spec.whatwg.org, section 9.2). */
export class EventStream {
  readonly body = new PassThrough({ highWaterMark: mostWaiting });
  readonly #beat = setInterval(() => this.#write(':\n\n'), beatInterval).unref();

  constructor() {
    this.body.once('close', () => clearInterval(this.#beat));
  }

  send(event: string, data: object): void {
    this.#write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  end(reason: string): void {
    this.send('end', { reason });
    this.body.end();
  }

  /** Closes it; the client comes back after a time of its own, so that not all come at once. */
  sendAway(): void {
    this.#write(`retry: ${1000 + Math.floor(Math.random() * 4001)}\n\n`);
    this.body.end();
  }

  /** A client that does not read is cut off; it gets the state when it comes back. */
  #write(text: string): void {
    if (this.body.writableEnded || this.body.destroyed) return;
    if (this.body.writableNeedDrain) this.body.destroy();
    else this.body.write(text);
  }
}

/** Bytes that may wait for a slow client. */
const mostWaiting = 4096;
/** Milliseconds between two comments, which keep proxies from closing a stream that is idle. */
const beatInterval = 15_000;
