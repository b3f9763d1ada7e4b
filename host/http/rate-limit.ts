import type Koa from 'koa';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { headKey, type KeyRing } from './api-key.js';
import { addressGroup, withoutPort } from './client-address.js';
import { hostError } from './errors.js';

export interface RateLimitOptions {
  /** Requests of one client in a window. */
  readonly rate: number;
  /** Seconds. */
  readonly window: number;
  readonly by: 'address' | 'key';
}

/** Counts a request; rejects with a 429 when its client has had its share. `keys` are those that open the path. */
export type RateLimit = (ctx: Koa.Context, keys: KeyRing | undefined) => Promise<void>;

/**
 * Clients that are counted one by one in a window. Those beyond share one count, so that nobody who can send from very
 * many addresses can fill the memory. Exported for tests.
 */
export const MAX_CLIENTS = 10_000;
const ALL_OTHERS = 'others';

/**
 * A limit for each client: `rate` requests in a window that begins with its first. It counts in this process alone.
 * The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
 */
export function rateLimit({ rate, window, by }: RateLimitOptions): RateLimit {
  const limiter = new RateLimiterMemory({ points: rate, duration: window });
  const policy = `"default";q=${rate};w=${window}`;
  let known = 0;
  let knownSince = performance.now();

  async function count(client: string): Promise<RateLimiterRes> {
    const result = await limiter.consume(client);
    if (!result.isFirstInDuration) return result;
    const now = performance.now();
    if (now - knownSince > window * 1000) {
      knownSince = now;
      known = 0;
    }
    known += 1;
    if (known <= MAX_CLIENTS) return result;
    await limiter.delete(client);
    return limiter.consume(ALL_OTHERS);
  }

  return async (ctx, keys) => {
    let result: RateLimiterRes;
    let refused = false;
    try {
      result = await count(
        (by === 'key' ? rightKey(ctx, keys) : undefined) ?? addressGroup(withoutPort(ctx.ip)),
      );
    } catch (error) {
      // The library rejects with the count when there is nothing left.
      if (error instanceof Error) throw error;
      result = error as RateLimiterRes;
      refused = true;
    }
    const seconds = Math.ceil(result.msBeforeNext / 1000);
    ctx.set('RateLimit-Policy', policy);
    ctx.set('RateLimit', `"default";r=${result.remainingPoints};t=${seconds}`);
    if (refused) {
      throw hostError(
        'rate_limited',
        { rate, window, seconds },
        { headers: { 'Retry-After': String(seconds) } },
      );
    }
  };
}

/** A wrong key counts for the address: else every guess would come with a count of its own. */
function rightKey(ctx: Koa.Context, keys: KeyRing | undefined): string | undefined {
  const key = keys && headKey(ctx.req);
  return key !== undefined && keys!.accepts(key) ? `key ${key}` : undefined;
}
