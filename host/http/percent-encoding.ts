import type Koa from 'koa';
import { hostError } from './errors.js';

/** Encoded bytes beyond ASCII; those of one character are adjacent. */
const BEYOND_ASCII = /(?:%[89a-f][\da-f])+/gi;

/** Throws a 400 if percent-encoded bytes are not UTF-8: decoding would turn them into other text. */
export function requireUtf8(encoded: string): void {
  if (!isUtf8Encoded(encoded)) throw hostError('invalid_parameter');
}

/** Makes an application refuse a request when its `query` is first read, if that would contain other text. */
export function requireUtf8Queries(request: Koa.BaseRequest): void {
  const query = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(request), 'query')!;
  Object.defineProperty(request, 'query', {
    ...query,
    get(this: Koa.Request) {
      requireUtf8(this.querystring);
      return query.get!.call(this);
    },
  });
}

export function isUtf8Encoded(encoded: string): boolean {
  if (!encoded.includes('%')) return true;
  for (const [bytes] of encoded.matchAll(BEYOND_ASCII)) {
    try {
      decodeURIComponent(bytes);
    } catch {
      return false;
    }
  }
  return true;
}
