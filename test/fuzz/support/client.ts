import { Agent, type IncomingMessage, request } from 'node:http';

/** An HTTP client with connections that stay open, which sends bytes and headers as they are given. */
export class Client {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(url: string) {
    this.#url = url;
  }

  /** @param chunked sends the body in two pieces of unstated length */
  post(
    path: string,
    bytes: Buffer,
    { chunked = false, headers = {} }: { chunked?: boolean; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const call = request(this.#url + path, {
        method: 'POST',
        agent: this.#agent,
        headers: {
          'Content-Type': 'application/json',
          ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': bytes.length }),
          ...headers,
        },
      });
      call.once('error', reject);
      call.once('response', (answer) => read(answer).then(resolve, reject));
      if (chunked) call.write(bytes.subarray(0, bytes.length >> 1));
      call.end(chunked ? bytes.subarray(bytes.length >> 1) : bytes);
    });
  }

  get(
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: string; headers: IncomingMessage['headers'] }> {
    return new Promise((resolve, reject) => {
      const call = request(this.#url + path, { agent: this.#agent, headers });
      call.once('error', reject);
      call.once('response', (answer) => read(answer).then(resolve, reject));
      call.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function read(
  answer: IncomingMessage,
): Promise<{ status: number; body: string; headers: IncomingMessage['headers'] }> {
  let body = '';
  for await (const chunk of answer.setEncoding('utf8')) body += chunk;
  return { status: answer.statusCode ?? 0, body, headers: answer.headers };
}
