import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type Koa from 'koa';
import type { PluginKeys } from '../kit/plugin-keys.js';
import { hostError } from './errors.js';

/**
 * The API keys that open one plugin, kept as hashes, which are compared in constant time. One that has been right is known
 * from then on by its text: to find that in a Set takes no longer for a key that is nearly right than for any other,
 * since texts of different hashes, under a seed of this process, are not compared.
 */
export class KeyRing {
  readonly #hashes: readonly Buffer[];
  readonly #accepted = new Set<string>();

  constructor(
    keys: readonly string[],
    /** Whether these are the global keys, or a plugin's own. */
    readonly kind: 'global' | 'plugin',
  ) {
    this.#hashes = keys.map(sha256);
  }

  accepts(key: string): boolean {
    if (this.#accepted.has(key)) return true;
    const hash = sha256(key);
    let found = false;
    for (const known of this.#hashes) {
      if (timingSafeEqual(hash, known)) found = true;
    }
    if (found) this.#accepted.add(key);
    return found;
  }
}

/**
 * The key that a request brings in its head: `Authorization: Bearer KEY` (RFC 6750), `X-Custom-Auth: KEY` or
 * `?apikey=KEY`. The fourth place, `apikey` in a JSON body, is `takeBodyKey`'s.
 */
export function headKey(request: IncomingMessage): string | undefined {
  const bearer = bearerKey(request);
  if (bearer !== undefined) return bearer;
  const custom = request.headers['x-custom-auth'];
  if (typeof custom === 'string') return custom;
  const query = request.url!.indexOf('?');
  if (query < 0 || !request.url!.includes('apikey=', query)) return undefined;
  return new URLSearchParams(request.url!.slice(query)).get('apikey') ?? undefined;
}

function bearerKey({ headers: { authorization } }: IncomingMessage): string | undefined {
  return authorization !== undefined && /^bearer /i.test(authorization)
    ? authorization.slice(7).trim()
    : undefined;
}

/** For a plugin that checks keys itself; without a ring no key is set. */
export function pluginKeys(ring: KeyRing | undefined): PluginKeys {
  return {
    kind: ring?.kind ?? 'global',
    areSet: ring !== undefined,
    opens(ctx, place) {
      const key = place === undefined ? (headKey(ctx.req) ?? takeBodyKey(ctx)) : bearerKey(ctx.req);
      if (ring === undefined || key === undefined) return false;
      checkKey(ring, key);
      return true;
    },
    require() {
      if (ring === undefined) throw hostError('no_global_key');
      throw keyRequired();
    },
  };
}

/** Removes `apikey` from a JSON body, so that a plugin sees only its own members. */
export function takeBodyKey(ctx: Koa.Context): string | undefined {
  const body = ctx.request.body as Record<string, unknown> | undefined;
  if (typeof body !== 'object' || body === null || typeof body.apikey !== 'string') return undefined;
  const { apikey } = body;
  delete body.apikey;
  return apikey;
}

/** Throws the 401 of RFC 6750 section 3 unless the key is one of the ring's. */
export function checkKey(keys: KeyRing, key: string | undefined): void {
  if (key !== undefined && keys.accepts(key)) return;
  throw key === undefined
    ? keyRequired()
    : hostError('wrong_api_key', {
        headers: { 'WWW-Authenticate': 'Bearer realm="plugin-server", error="invalid_token"' },
      });
}

function keyRequired() {
  return hostError('api_key_required', {
    headers: { 'WWW-Authenticate': 'Bearer realm="plugin-server"' },
  });
}

function sha256(text: string): Buffer {
  // Through text, which costs half as much as a Buffer created natively.
  return Buffer.from(hash('sha256', text, 'binary'), 'latin1');
}
