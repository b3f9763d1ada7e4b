import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, call } from './http.js';
import { judge, type Operation } from './linearizable.js';
import { type SessionAnswer, type SessionCall, sessionModel } from './session-model.js';

type Op = Operation<SessionCall, SessionAnswer>;

/** A session that all clients use, through any host. */
interface Shared {
  readonly userid: string;
  /** As the last renewal told it. */
  id: string;
  version: number;
  readonly history: Op[];
  /** Answers in a row that there is no such session. */
  missing: number;
}

/** Where and when a call was in progress. */
interface Span {
  readonly host: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Clients that use the same few sessions at once, each call through any of the hosts, and write down the history of each
 * session. A call that was answered with 503, or not at all, may happen at any later time, or never.
 */
export class SharedSessions {
  /** Writes that were acknowledged, calls that were refused or not answered, and the slowest answer in milliseconds. */
  readonly tally = { acknowledged: 0, unknown: 0, slowest: 0 };
  /** Answers that are neither right nor an honest refusal. */
  readonly wrong: string[] = [];
  readonly #urls: readonly (() => string)[];
  readonly #clients: number;
  readonly #open: Shared[] = [];
  readonly #closed: Shared[] = [];
  readonly #spans: Span[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #number = 0;

  constructor(clients: number, sessions: number, urls: readonly (() => string)[]) {
    this.#clients = clients;
    this.#urls = urls;
    for (let n = 0; n < sessions; n += 1) this.#open.push(this.#blank());
  }

  start(): void {
    const run = async () => {
      while (!this.#isStopping) await this.#step();
    };
    this.#running = Promise.all(Array.from({ length: this.#clients }, run));
  }

  /** Resolves once each session was read once more, through every host. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    for (const shared of this.#open)
      for (const host of this.#urls.keys()) await this.#send(shared, { call: 'get', id: shared.id }, host);
  }

  /** The calls of every session, and those of the longest history. */
  get lengths(): { readonly sessions: number; readonly calls: number; readonly longest: number } {
    const lengths = this.#all.map(({ history }) => history.length);
    return {
      sessions: lengths.length,
      calls: lengths.reduce((sum, n) => sum + n, 0),
      longest: Math.max(...lengths),
    };
  }

  /** Whether a call was in progress then, on that host or, without one, on any. */
  wasBusy(at: number, host?: number): boolean {
    return this.#spans.some(
      (span) => span.from < at && at < span.to && (host === undefined || span.host === host),
    );
  }

  /** What is wrong with each history that no single session can have had. */
  judge(): string[] {
    return this.#all.flatMap(({ userid, history }) => {
      const { isLinearizable, order } = judge(sessionModel, history);
      if (isLinearizable) return [];
      const rest = history.filter((op) => !order.includes(op)).slice(0, 4);
      const shown = [...order.slice(-3), ...rest].map(({ input, output, invoked, answered }) =>
        JSON.stringify({ ...input, output, invoked: Math.round(invoked), answered: Math.round(answered) }),
      );
      return [`${userid}: behind ${order.length} of ${history.length} calls: ${shown.join(' ')}`];
    });
  }

  get #all(): readonly Shared[] {
    return [...this.#closed, ...this.#open].filter(({ history }) => history.length > 0);
  }

  #blank(): Shared {
    this.#number += 1;
    const id = randomBytes(32).toString('base64url');
    return { userid: `shared-${this.#number}`, id, version: 0, history: [], missing: 0 };
  }

  async #step(): Promise<void> {
    const slot = Math.floor(Math.random() * this.#open.length);
    const shared = this.#open[slot]!;
    const host = Math.floor(Math.random() * this.#urls.length);
    const isOver = shared.missing > 2 || shared.history.length > longestHistory;
    if (isOver) this.#open[slot] = this.#blank();
    if (isOver) this.#closed.push(shared);
    await this.#send(shared, isOver ? { call: 'end' } : this.#choose(shared), host);
  }

  #choose(shared: Shared): SessionCall {
    const { id, version, history } = shared;
    this.#number += 1;
    const data = { [`by${this.#number % 4}`]: this.#number };
    if (history.length === 0) return { call: 'new', id, data };
    const dice = Math.random();
    if (dice < 0.4 || version === 0) return { call: 'get', id };
    if (dice < 0.7) return { call: 'patch', id, data };
    if (dice < 0.9) return { call: 'update', id, version, data };
    if (dice < 0.96) return { call: 'renew', id };
    return history.length > longestHistory / 2 ? { call: 'end', id } : { call: 'get', id };
  }

  async #send(shared: Shared, input: SessionCall, host: number): Promise<void> {
    const { userid } = shared;
    const { call: name, id, data, version } = input;
    const body = {
      userid,
      ...(id === undefined ? { handle: shared.id.slice(0, 16) } : { session_id: id }),
      ...(data && { data }),
      ...(version !== undefined && { version }),
    };
    const invoked = performance.now();
    // In the history from the beginning: of two clients, only one creates the session.
    const at =
      shared.history.push({ input, output: undefined, invoked, answered: Number.POSITIVE_INFINITY }) - 1;
    const answer = await call(this.#urls[host]!(), `/sessman/${name}`, { body, timeout: patience });
    const answered = performance.now();
    this.#spans.push({ host, from: invoked, to: answered });
    const output = this.#outputOf(name, answer);
    if (output === undefined) {
      this.tally.unknown += 1;
      // A host that is not there refuses at once.
      await sleep(20);
      return;
    }
    shared.history[at] = { input, output, invoked, answered };
    this.tally.slowest = Math.max(this.tally.slowest, answer.ms);
    shared.missing = output.status === 404 ? shared.missing + 1 : 0;
    if (output.status !== 200) return;
    if (name !== 'get') this.tally.acknowledged += 1;
    shared.version = Math.max(shared.version, output.version ?? 0);
    if (output.id !== undefined) shared.id = output.id;
  }

  #outputOf(name: SessionCall['call'], { status, text }: Answer): SessionAnswer | undefined {
    if (status === 0 || status === 503) return undefined;
    if (![200, 404, 409, 412].includes(status)) {
      this.wrong.push(`${name}: ${status} ${text.slice(0, 200)}`);
      return undefined;
    }
    const {
      version,
      data,
      session_id: id,
    } = JSON.parse(text || '{}') as {
      version?: number;
      data?: Record<string, number>;
      session_id?: string;
    };
    return {
      status,
      ...(version !== undefined && { version }),
      ...(status === 200 && name === 'get' && data && { data }),
      ...(status === 200 && name === 'renew' && id !== undefined && { id }),
    };
  }
}

const longestHistory = 60;
/** Milliseconds. */
const patience = 4000;
