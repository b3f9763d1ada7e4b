import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { SessionError } from '../client/client.js';

export interface ConnectionOptions {
  /** The URL of sessman; `http://127.0.0.1:6123/sessman` by default. */
  readonly base_url?: string;
  /** The API key, sent as a bearer token. */
  readonly auth?: string | null;
  /** Milliseconds after which a call fails; 10,000 by default. */
  readonly timeout?: number;
  /** Connections at most; 64 by default. Further calls wait for a free one. */
  readonly connections?: number;
  /** Replaces the store's pool: for another certificate authority, a proxy or a Unix socket. */
  readonly agent?: HttpAgent;
}

/** A session, as sessman responds with it. */
export interface Answer {
  readonly session_id: string;
  readonly userid: string;
  readonly data: Record<string, unknown>;
  readonly version: number;
  readonly created_at: string;
  readonly updated_at: string;
  readonly expires_at: string;
}

/**
 * Calls to sessman over pooled connections.
 *
 * A call whose reused connection turns out to be closed is sent again, although it may have arrived: every call of the
 * stores has the same effect twice as once.
 */
export class Connection {
  readonly #base: string;
  readonly #timeout: number;
  readonly #agent: HttpAgent;
  readonly #headers: Record<string, string>;
  readonly #request: typeof requestHttp;
  #clockLead = 0;

  constructor(options: ConnectionOptions) {
    this.#base = (options.base_url ?? 'http://127.0.0.1:6123/sessman').replace(/\/+$/, '');
    const secure = new URL(this.#base).protocol === 'https:';
    this.#timeout = options.timeout ?? 10_000;
    const pool = { keepAlive: true, maxSockets: options.connections ?? 64 };
    this.#agent = options.agent ?? (secure ? new HttpsAgent(pool) : new HttpAgent(pool));
    this.#request = secure ? requestHttps : requestHttp;
    this.#headers = options.auth ? { Authorization: `Bearer ${options.auth}` } : {};
  }

  /** Rejects with a SessionError. */
  call<Result = Answer>(command: string, body: object, sessionId?: string): Promise<Result> {
    return this.#ask(`${this.#base}/${command}`, JSON.stringify(body), sessionId);
  }

  /** A GET of a command with its query. Rejects with a SessionError. */
  read<Result>(commandAndQuery: string): Promise<Result> {
    return this.#ask(`${this.#base}/${commandAndQuery}`);
  }

  async #ask<Result>(url: string, body?: string, sessionId?: string): Promise<Result> {
    const { status, text, date } = await this.#send(url, body, sessionId);
    this.#compareClocks(date);
    const answer = parse(text);
    if (answer === undefined || (status !== 200 && typeof answer.code !== 'string')) {
      const message = `the response from ${url} (status ${status}) is not from sessman; check base_url`;
      throw new SessionError('invalid_answer', message, { status });
    }
    if (status === 200) return answer as Result;
    throw new SessionError(answer.code as string, String(answer.error), { ...answer, status });
  }

  /** Milliseconds by which sessman's clock is ahead of this process's, as far as its responses show. */
  get clockLead(): number {
    return this.#clockLead;
  }

  /** Closes the connections that are not in use. */
  close(): void {
    this.#agent.destroy();
  }

  /** The Date header has whole seconds, and a response takes time: small differences do not count. */
  #compareClocks(date: string | undefined): void {
    const lead = Date.parse(date ?? '') - Date.now();
    this.#clockLead = Math.abs(lead) > 2000 ? lead : 0;
  }

  /** A POST of the body, or without one a GET. */
  async #send(url: string, body?: string, sessionId?: string): Promise<Reply> {
    const signal = AbortSignal.timeout(this.#timeout);
    const headers = { ...this.#headers };
    if (body !== undefined) {
      Object.assign(headers, {
        'Content-Type': 'application/json',
        'Content-Length': `${Buffer.byteLength(body)}`,
      });
    }
    if (sessionId !== undefined) Object.assign(headers, { 'X-Session-Id': sessionId });
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(url, { headers, body, signal });
      } catch (error) {
        if (error instanceof StaleConnection && attempt <= this.#agent.maxSockets) continue;
        const cause = error instanceof StaleConnection ? error.cause : error;
        const code = signal.aborted ? 'timeout' : 'network_error';
        throw new SessionError(code, `no response from ${url}: ${(cause as Error).message}`, { cause });
      }
    }
  }

  #once(
    url: string,
    {
      headers,
      body,
      signal,
    }: { headers: Record<string, string>; body: string | undefined; signal: AbortSignal },
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const request = this.#request(url, {
        method: body === undefined ? 'GET' : 'POST',
        agent: this.#agent,
        headers,
        signal,
      });
      request.once('error', (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(stale ? new StaleConnection(error) : error);
      });
      request.once('response', (response: IncomingMessage) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, text, date: response.headers.date });
        });
        response.once('error', reject);
      });
      request.end(body);
    });
  }
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly date: string | undefined;
}

/** The server had closed a pooled connection before it saw the call, or while it was working on it. */
class StaleConnection extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value && typeof value === 'object' ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
