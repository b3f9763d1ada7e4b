import type { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome, Verdict } from './fault.js';
import { type Answer, call, oneConnection } from './http.js';

/** A session as its one writer knows it. */
interface Held {
  id: string;
  readonly userid: string;
  version: number;
  /** What its data's `n` is. */
  n: number;
  live: boolean;
  /** A write that was not answered with success, and so may or may not have been applied. */
  doubt?: 'update' | 'end' | 'renew' | undefined;
  /** The `n` of a doubtful update. */
  doubtfulN: number;
  endingRenewed?: boolean;
}

/** What all writers together saw. */
export interface Tally {
  acknowledged: number;
  /** 503s. */
  refused: number;
  /** Requests whose connection was lost or refused. */
  unanswered: number;
  /** Milliseconds. */
  slowest: number;
  readonly lost: string[];
  readonly wrong: string[];
}

const livePerWriter = 12;
const endedRemembered = 40;

/**
 * Clients that make, update, patch, renew and end sessions of their own, one request after the other, and keep account of
 * every answer: what was acknowledged has to be found again, once and whole; what was not, may be there or not; what
 * ended stays ended. Each session has one writer, so that there is always just one right answer, or two.
 */
export class Writers {
  readonly tally: Tally = { acknowledged: 0, refused: 0, unanswered: 0, slowest: 0, lost: [], wrong: [] };
  readonly #writers: Writer[];
  #running: Promise<unknown> | undefined;
  #stopping = false;

  /** @param url where the server is now */
  constructor(count: number, url: () => string, headers: Readonly<Record<string, string>> = {}) {
    this.#writers = Array.from(
      { length: count },
      (_, i) => new Writer(`writer-${i}`, url, headers, this.tally),
    );
  }

  start(): void {
    this.#stopping = false;
    this.#running = Promise.all(
      this.#writers.map(async (writer) => {
        while (!this.#stopping) await writer.step();
      }),
    );
  }

  /** Resolves when each has the answer to its last request. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    for (const writer of this.#writers) writer.disconnect();
  }

  /** Reads every session again; what is missing or back is in the tally. */
  async verify(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.verify()));
  }

  /** What goes into the row of the table. Nothing may be lost or wrong. */
  judge(verdict: Verdict): Pick<Outcome, 'acknowledged' | 'lost' | 'wrong' | 'slowest'> {
    const { acknowledged, lost, wrong, slowest } = this.tally;
    verdict.expect(lost.length === 0, `lost: ${lost.slice(0, 3).join(', ')}`);
    verdict.expect(wrong.length === 0, `wrong: ${wrong.slice(0, 3).join(', ')}`);
    return { acknowledged, lost: lost.length, wrong: wrong.length, slowest };
  }
}

class Writer {
  #held: Held[] = [];
  #agent: Agent = oneConnection();
  #count = 0;

  constructor(
    readonly userid: string,
    readonly url: () => string,
    readonly headers: Readonly<Record<string, string>>,
    readonly tally: Tally,
  ) {}

  async step(): Promise<void> {
    const doubtful = this.#held.find((held) => held.doubt !== undefined);
    if (doubtful !== undefined) {
      await this.#settle(doubtful);
      return;
    }
    const live = this.#held.filter((held) => held.live);
    const held = live[Math.floor(Math.random() * live.length)];
    if (held === undefined || (live.length < livePerWriter && Math.random() < 0.2)) return this.#make();
    const dice = Math.random();
    if (dice < 0.45) await this.#update(held);
    else if (dice < 0.75) await this.#patch(held);
    else if (dice < 0.85) await this.#renew(held);
    else if (dice < 0.93) await this.#end(held);
    else await this.#check(held);
  }

  async verify(): Promise<void> {
    for (const held of [...this.#held]) {
      while (held.doubt !== undefined) await this.#settle(held);
      await this.#check(held);
    }
  }

  disconnect(): void {
    this.#agent.destroy();
    this.#agent = oneConnection();
  }

  async #make(): Promise<void> {
    this.#count += 1;
    const n = this.#count;
    const answer = await this.#send('new', { userid: this.userid, data: { n, kept: n } });
    if (answer.status !== 200) return;
    const { session_id: id, version } = parse(answer);
    this.#held.push({ id, userid: this.userid, version, n, live: true, doubtfulN: 0 });
    const ended = this.#held.filter((held) => !held.live && held.doubt === undefined);
    if (ended.length > endedRemembered) this.#held.splice(this.#held.indexOf(ended[0]!), 1);
  }

  /** With the version, so that sending it again after a failure applies it once. */
  async #update(held: Held): Promise<void> {
    this.#count += 1;
    await this.#sendUpdate(held, this.#count);
  }

  async #sendUpdate(held: Held, n: number): Promise<void> {
    const again = held.doubt === 'update';
    const { id: session_id, version } = held;
    const answer = await this.#send('update', { session_id, version, data: { n, kept: n } });
    if (answer.status === 200) {
      if (parse(answer).version !== version + 1) this.#wrong('update', answer);
      this.#applied(held, n);
    } else if (answer.status === 412 && again) {
      // It had been applied.
      if (parse(answer).version !== version + 1) this.#wrong('update sent again', answer);
      this.#applied(held, n);
    } else if (isNone(answer)) {
      held.doubt = 'update';
      held.doubtfulN = n;
    } else if (answer.status === 404) this.#lost(held, 'update');
    else this.#wrong('update', answer);
  }

  async #patch(held: Held): Promise<void> {
    this.#count += 1;
    const n = this.#count;
    const answer = await this.#send('patch', { session_id: held.id, data: { n, kept: n } });
    if (answer.status === 200) {
      if (parse(answer).version !== held.version + 1) this.#wrong('patch', answer);
      this.#applied(held, n);
    } else if (isNone(answer)) {
      held.doubt = 'update';
      held.doubtfulN = n;
    } else if (answer.status === 404) this.#lost(held, 'patch');
    else this.#wrong('patch', answer);
  }

  async #renew(held: Held): Promise<void> {
    const answer = await this.#send('renew', { session_id: held.id });
    if (answer.status === 200) {
      const { session_id, version } = parse(answer);
      if (version !== held.version) this.#wrong('renew', answer);
      held.id = session_id;
    } else if (isNone(answer)) held.doubt = 'renew';
    else if (answer.status === 404) this.#lost(held, 'renew');
    else this.#wrong('renew', answer);
  }

  async #end(held: Held): Promise<void> {
    const again = held.doubt === 'end';
    const answer = await this.#send('end', { session_id: held.id });
    if (answer.status === 200 || (answer.status === 404 && again)) {
      held.live = false;
      held.doubt = undefined;
    } else if (isNone(answer)) held.doubt = 'end';
    else if (answer.status === 404) this.#lost(held, 'end');
    else this.#wrong('end', answer);
  }

  /**
   * Brings a write without an answer to a known end. Looking would not do: what hangs in a broken connection may be
   * applied after the look. A write that is sent again with its version makes the first one void, if that had not been
   * applied; an end makes a renewal void.
   */
  async #settle(held: Held): Promise<void> {
    if (held.doubt === 'update') await this.#sendUpdate(held, held.doubtfulN);
    else if (held.doubt === 'end') await this.#end(held);
    else await this.#endRenewed(held);
    // Whoever has no answer now would not have one in a millisecond either.
    if (held.doubt !== undefined) await sleep(20);
  }

  /** The new id may have gone with the answer; the session is still known by its handle. */
  async #endRenewed(held: Held): Promise<void> {
    const again = held.endingRenewed === true;
    const answer = await this.#send('end', { userid: held.userid, handle: held.id.slice(0, 16) });
    if (answer.status === 200 || (answer.status === 404 && again)) {
      held.live = false;
      held.doubt = undefined;
    } else if (isNone(answer)) held.endingRenewed = true;
    else if (answer.status === 404) this.#lost(held, 'end after renew');
    else this.#wrong('end after renew', answer);
  }

  /** Reads it and compares. */
  async #check(held: Held): Promise<void> {
    const answer = await this.#get(held);
    if (isNone(answer)) return;
    if (!held.live) {
      if (answer.status !== 404) this.#wrong('get of an ended session', answer);
      return;
    }
    if (answer.status === 404) {
      this.#lost(held, 'get');
      return;
    }
    if (answer.status !== 200) {
      this.#wrong('get', answer);
      return;
    }
    const { version, data } = parse(answer);
    if (version < held.version) this.#lost(held, `get: version ${version}, not ${held.version}`);
    else if (version !== held.version || data.n !== held.n || data.kept !== held.n) {
      this.#wrong(`get of version ${held.version}, n ${held.n}`, answer);
    }
  }

  #get(held: Held): Promise<Answer> {
    return this.#send(`get?userid=${held.userid}`, undefined, { 'X-Session-Id': held.id });
  }

  #applied(held: Held, n: number): void {
    held.version += 1;
    held.n = n;
    held.doubt = undefined;
  }

  #lost(held: Held, by: string): void {
    this.tally.lost.push(`${held.userid} ${held.id.slice(0, 16)}, seen by ${by}`);
    this.#held.splice(this.#held.indexOf(held), 1);
  }

  #wrong(what: string, { status, text }: Answer): void {
    this.tally.wrong.push(`${what}: ${status} ${text.slice(0, 200)}`);
  }

  async #send(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await call(this.url(), `/sessman/${path}`, {
      body,
      headers: { ...this.headers, ...headers },
      agent: this.#agent,
    });
    const { tally } = this;
    tally.slowest = Math.max(tally.slowest, answer.ms);
    if (answer.status === 0) {
      tally.unanswered += 1;
      // A server that is not there refuses at once.
      await sleep(5);
    } else if (answer.status === 503) {
      tally.refused += 1;
      if (answer.headers['retry-after'] === undefined) this.#wrong('503 without Retry-After', answer);
    } else if (answer.status === 200 && !path.startsWith('get') && path !== 'list') tally.acknowledged += 1;
    return answer;
  }
}

/** Neither done nor refused for good. */
function isNone({ status }: Answer): boolean {
  return status === 0 || status === 503;
}

function parse({ text }: Answer) {
  return JSON.parse(text) as {
    session_id: string;
    version: number;
    data: { n: number; kept: number };
  };
}
