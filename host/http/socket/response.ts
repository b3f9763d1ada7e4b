import type { ServerResponse } from 'node:http';
import type { RouteLabels } from '../../monitor/metrics.js';
import { BufferedHeaders } from '../fast/buffered-headers.js';

export const JSON_TYPE = 'application/json; charset=utf-8';

/** What every answer of one server carries. */
export interface ResponseDefaults {
  /** Header names and values, flat: `['X-Content-Type-Options', 'nosniff', …]`. A header that is already set stays. */
  readonly headers: readonly string[];
  /** True while the server drains: each answer then closes its connection. */
  readonly draining: () => boolean;
}

/**
 * Node's response, which adds the default headers whoever writes the head: Koa, a plugin's own code, or `answerQuickly`.
 * It also holds what the access log and the metrics say about its request.
 */
export abstract class HostResponse extends BufferedHeaders {
  requestId = '';
  /** `performance.now()` when the request arrived. */
  startedAt = 0;
  /** It waited too long for its turn, or would have to. */
  late = false;
  /** The plugin and route that the request was for, once known. */
  route: RouteLabels | undefined = undefined;
  recorded = false;
  /** What was thrown, where that made the answer. */
  failure: unknown = undefined;

  protected abstract readonly defaults: ResponseDefaults;

  override writeHead(status: number, ...rest: unknown[]): this {
    const { headers, draining } = this.defaults;
    if (draining()) this.shouldKeepAlive = false;
    for (let i = 0; i < headers.length; i += 2) {
      if (!this.hasHeader(headers[i]!)) this.addHeader(headers[i]!, headers[i + 1]!);
    }
    this.setHeader('X-Request-Id', this.requestId);
    return super.writeHead(status, ...rest);
  }
}

/** A response class bound to one server's defaults, for `http.createServer({ ServerResponse })`. */
export function responseClass(defaults: ResponseDefaults): typeof ServerResponse {
  return class extends HostResponse {
    protected override get defaults(): ResponseDefaults {
      return defaults;
    }
  } as typeof ServerResponse;
}

/** The headers that OWASP's REST Security Cheat Sheet asks of a JSON API. */
export function securityHeaders(tls: boolean): string[] {
  const headers = [
    'Cache-Control',
    'no-store',
    'X-Content-Type-Options',
    'nosniff',
    'Content-Security-Policy',
    "frame-ancestors 'none'",
    'X-Frame-Options',
    'DENY',
  ];
  if (tls) headers.push('Strict-Transport-Security', 'max-age=31536000');
  return headers;
}
