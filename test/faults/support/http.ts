import { Agent, request } from 'node:http';

export interface Answer {
  /** 0 when there was no answer: the connection was refused, lost, or too slow. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Milliseconds. */
  readonly ms: number;
  /** Why there was no answer. */
  readonly error?: string;
}

export interface CallOptions {
  /** JSON where it is an object. GET without one. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** One request, and whatever comes of it. Never rejects. */
export function call(url: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { body, headers = {}, agent, timeout = 10_000 } = options;
  const begun = performance.now();
  return new Promise((resolve) => {
    const none = (error: string) =>
      resolve({ status: 0, headers: {}, text: '', ms: performance.now() - begun, error });
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const outgoing = request(url + path, {
      method: text === undefined ? 'GET' : 'POST',
      headers: {
        ...(text !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(text),
        }),
        ...headers,
      },
      ...(agent && { agent }),
    });
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${timeout} ms`)), timeout);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => none(error.message));
      response.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
          ms: performance.now() - begun,
        });
      });
    });
    outgoing.on('error', (error) => none(error.message));
    outgoing.on('close', () => clearTimeout(timer));
    outgoing.end(text);
  });
}

/** For a client that keeps one connection. */
export function oneConnection(): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1 });
}
