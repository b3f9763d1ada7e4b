import type Koa from 'koa';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { withoutPort } from '../kit/audit.js';
import { headKey, type KeyRing } from './api-key.js';
import { addressGroup } from './client-address.js';
import { hostError } from './errors.js';

export interface RateLimitOptions {
  /** How many requests a client may send in a window. */
  readonly rate: number;
  /** Seconds. */
  readonly window: number;
  readonly by: 'address' | 'key';
}

/** Counts a request. Rejects with a 429 when its client has reached the limit. `keys` are the keys of the path. */
export type RateLimit = (ctx: Koa.Context, keys: KeyRing | undefined) => Promise<void>;

/**
 * How many clients of a window are counted separately. All others share one count, so that a client with many addresses
 * cannot fill the memory. Exported for tests.
 */
export const MAX_CLIENTS = 10_000;
const ALL_OTHERS = 'others';

/**
 * Limits each client to `rate` requests in a window that begins with its first request. Each process counts separately.
 * The headers follow draft-ietf-httpapi-ratelimit-headers-10.
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
      // The library rejects with the count when the limit is reached.
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

/** A wrong key counts for the address: otherwise each guess would have a separate count. */
function rightKey(ctx: Koa.Context, keys: KeyRing | undefined): string | undefined {
  const key = keys && headKey(ctx.req);
  return key !== undefined && keys!.accepts(key) ? `key ${key}` : undefined;
}
