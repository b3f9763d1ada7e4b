import { once } from 'node:events';
import { type ClientRequest, get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';

export interface Told {
  /** Undefined for what is not an event: `retry` alone. */
  readonly event: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: an event's JSON, whose members the tests check
  readonly data: any;
  readonly retry: number | undefined;
}

/** A client of `GET /sessman/watch`, over a connection of its own. */
export class WatchClient {
  readonly told: Told[] = [];
  status = 0;
  headers: IncomingHttpHeaders = {};
  /** The body of what is not a stream. */
  text = '';
  readonly closed: Promise<void>;
  readonly #request: ClientRequest;
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  private constructor(url: string, headers: Record<string, string>) {
    this.#request = get(`${url}/sessman/watch`, { agent: false, headers });
    this.#request.on('error', () => this.#close());
    this.closed = new Promise((resolve) => this.#request.once('close', resolve));
  }

  static async open(url: string, headers: Record<string, string>): Promise<WatchClient> {
    const client = new WatchClient(url, headers);
    const [response] = (await once(client.#request, 'response')) as [IncomingMessage];
    client.status = response.statusCode ?? 0;
    client.headers = response.headers;
    let rest = '';
    response.setEncoding('utf8').on('data', (text: string) => {
      client.text += text;
      rest += text;
      for (let at = rest.indexOf('\n\n'); at >= 0; at = rest.indexOf('\n\n')) {
        client.#take(rest.slice(0, at));
        rest = rest.slice(at + 2);
      }
    });
    response.once('close', () => client.#close());
    return client;
  }

  /** The first event from the `from`th on, waiting for it. Rejects when the stream closes without one. */
  async next(from = 0): Promise<Told> {
    for (;;) {
      if (this.told.length > from) return this.told[from]!;
      if (this.#isClosed) throw new Error(`the stream closed after ${JSON.stringify(this.told)}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  close(): void {
    this.#request.destroy();
  }

  #take(block: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const [event, data, retry] = [field('event'), field('data'), field('retry')];
    if (event === undefined && retry === undefined) return;
    this.told.push({
      event,
      data: data === undefined ? undefined : JSON.parse(data),
      retry: retry === undefined ? undefined : Number(retry),
    });
    this.#wake();
  }

  #close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
