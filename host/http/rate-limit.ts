import type Koa from 'koa';
import type { RateLink } from '../control.js';
import { monotonic } from '../monitor/monotonic.js';
import { headKey, type KeyRing } from './api-key.js';
import { addressGroup } from './client-address.js';
import { hostError } from './errors.js';
import { ClientTable, RateCounts } from './rate-counts.js';
import type { HostResponse } from './socket/response.js';

export interface RateLimitOptions {
  /** How many requests a client may send in a window. */
  readonly rate: number;
  /** Seconds. */
  readonly window: number;
  readonly by: 'address' | 'key';
}

/** What this process holds of a client's limit. */
interface Held {
  readonly client: string;
  /** The requests that may be served without asking. */
  tokens: number;
  /** Those that no process had taken when this one asked last. */
  left: number;
  /** When the window began and ends, on the machine's monotonic clock, in milliseconds. */
  begun: number;
  ends: number;
  /** The size of the latest share. */
  size: number;
  /** The most to ask for in advance. It grows with each share, so that a client with few requests holds few. */
  most: number;
  /** The requests that wait for the next share. */
  waiting: number;
  /** Settles when the share that is asked for has arrived. */
  refill: Promise<void> | undefined;
}

/** The first share taken in advance is at most the limit divided by the first, a later one by the second. */
const SHARES = { first: 40, later: 10 };
/** When at most the share divided by this is left of it, the next one is asked for. */
const EARLY = 2;
/** How long to gather what no request waits for into one message. Milliseconds. */
const GATHERING = 10;

/**
 * Limits each client to `rate` requests in a window that begins with its first request. The processes of a server share
 * the limit: each takes shares of it in advance, so that most requests need no message to the supervisor. A share that
 * is not used up is lost at the end of the window. The headers follow draft-ietf-httpapi-ratelimit-headers-10.
 */
export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #link: RateLink;
  readonly #policy: string;
  readonly #held = new ClientTable<Held>();
  #asking: { readonly held: Held; readonly resolve: () => void }[] = [];
  #later: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  /** Until a message is answered, what others ask for is gathered into the next one. */
  #isAsking = false;
  #draining = false;

  /** @param link to the supervisor; without one, this process counts by itself */
  constructor(options: RateLimitOptions, link: RateLink = localLink()) {
    this.#options = options;
    this.#link = link;
    this.#policy = `"default";q=${options.rate};w=${options.window}`;
  }

  /**
   * Counts a request. Throws, or rejects with, a 429 when its client has reached the limit. Returns a promise only if it has
   * to wait for the supervisor. `keys` are the keys of the path.
   */
  judge(ctx: Koa.Context, keys: KeyRing | undefined): Promise<void> | undefined {
    const client = this.#clientOf(ctx, keys);
    const now = monotonic();
    const held = this.#find(client, now);
    if (!this.#spend(held, now)) return this.#waitForShare(ctx, client, held, now);
    this.#describe(ctx, held, now);
    return undefined;
  }

  #clientOf(ctx: Koa.Context, keys: KeyRing | undefined): string {
    const key = this.#options.by === 'key' ? rightKey(ctx, keys) : undefined;
    return key ?? addressGroup(ctx.ip);
  }

  async #waitForShare(ctx: Koa.Context, client: string, held: Held, now: number): Promise<void> {
    do {
      if (held.left === 0 && held.refill === undefined) throw this.#refusal(ctx, held, now);
      held.waiting += 1;
      await this.#refill(held);
      held.waiting -= 1;
      now = monotonic();
      held = this.#find(client, now);
    } while (!this.#spend(held, now));
    this.#describe(ctx, held, now);
  }

  #refusal(ctx: Koa.Context, held: Held, now: number): Error {
    const { rate, window } = this.#options;
    const seconds = this.#describe(ctx, held, now);
    return hostError(
      'rate_limited',
      { rate, window, seconds },
      { headers: { 'Retry-After': String(seconds) } },
    );
  }

  /** Gives back what is not used, for the process that serves in this one's place, and takes no more in advance. */
  drain(): void {
    this.#draining = true;
    const now = monotonic();
    const unused = [...this.#held.values()].filter(({ tokens, ends }) => tokens > 0 && ends > now);
    if (unused.length === 0) return;
    this.#link.giveBack(unused.map(({ client, tokens, begun }) => ({ client, tokens, begun })));
    for (const held of unused) {
      held.left += held.tokens;
      held.tokens = 0;
    }
  }

  #find(client: string, now: number): Held {
    return this.#held.of(client, now, isOver, this.#hold);
  }

  readonly #hold = (client: string): Held => ({
    client,
    tokens: 0,
    left: this.#options.rate,
    begun: 0,
    ends: Number.POSITIVE_INFINITY,
    size: 0,
    most: this.#share(SHARES.first),
    waiting: 0,
    refill: undefined,
  });

  #spend(held: Held, now: number): boolean {
    if (held.tokens === 0 || held.ends <= now) return false;
    held.tokens -= 1;
    const isLow = held.tokens > 0 && held.tokens * EARLY <= held.size;
    if (isLow && held.left > 1 && !this.#draining) this.#refill(held);
    return true;
  }

  /** Asks for the next share, in one message with those of other clients. */
  #refill(held: Held): Promise<void> {
    held.refill ??= new Promise((resolve) => {
      this.#asking.push({ held, resolve });
    });
    if (this.#isAsking) return held.refill;
    if (held.waiting > 0) this.#soon ??= setImmediate(() => this.#ask());
    else this.#later ??= setTimeout(() => this.#ask(), GATHERING);
    return held.refill;
  }

  #share(part: number): number {
    return Math.ceil(this.#options.rate / part);
  }

  async #ask(): Promise<void> {
    const { rate, window } = this.#options;
    clearImmediate(this.#soon);
    clearTimeout(this.#later);
    this.#soon = undefined;
    this.#later = undefined;
    const asking = this.#asking;
    if (asking.length === 0) return;
    this.#asking = [];
    this.#isAsking = true;
    const shares = await this.#link.take(
      asking.map(({ held: { client, waiting, most } }) => ({
        client,
        rate,
        window,
        need: waiting,
        most: this.#draining ? 0 : most,
      })),
    );
    this.#isAsking = false;
    if (this.#asking.length > 0) this.#soon = setImmediate(() => this.#ask());
    for (const [i, { held, resolve }] of asking.entries()) {
      const { tokens, left, begun } = shares[i]!;
      held.tokens = begun === held.begun ? held.tokens + tokens : tokens;
      held.left = left;
      held.begun = begun;
      held.ends = begun + window * 1000;
      held.size = tokens;
      held.most = Math.min(held.most * 2, this.#share(SHARES.later));
      held.refill = undefined;
      resolve();
    }
  }

  /** Sets the headers, and returns the seconds until the window ends. */
  #describe(ctx: Koa.Context, { tokens, left, ends }: Held, now: number): number {
    const seconds = Math.max(1, Math.ceil((ends - now) / 1000));
    const res = ctx.res as HostResponse;
    res.addHeader('RateLimit-Policy', this.#policy);
    res.addHeader('RateLimit', `"default";r=${left + tokens};t=${seconds}`);
    return seconds;
  }
}

/** A share that is asked for keeps its entry, for those that wait. */
function isOver({ ends, refill }: Held, now: number): boolean {
  return refill === undefined && ends <= now;
}

function localLink(): RateLink {
  const counts = new RateCounts();
  return {
    take: async (requests) => requests.map((request) => counts.take(request)),
    giveBack: (unused) => counts.giveBack(unused),
  };
}

/** A wrong key counts for the address: otherwise each guess would have a separate count. */
function rightKey(ctx: Koa.Context, keys: KeyRing | undefined): string | undefined {
  const key = keys && headKey(ctx.req);
  return key !== undefined && keys!.accepts(key) ? `key ${key}` : undefined;
}
