import type { IncomingMessage } from 'node:http';
import type Koa from 'koa';
import {
  type Context,
  errorType,
  type OpenTelemetry,
  openTelemetry,
  SpanKind,
} from '../../databases/open-telemetry.js';
import type { TraceIds } from '../kit/audit.js';
import { withDeadline } from '../kit/deadline.js';
import { loggablePath } from './loggable-path.js';
import type { HostResponse, TracedRequest } from './socket/response.js';
import { parseTraceparent } from './traceparent.js';
import { type TrustedPeers, trustedPeers } from './trusted-peers.js';

/** How long a stop or reload waits for the last spans to be exported, in milliseconds. */
const FLUSH = 2000;

/**
 * One server span for each request (semantic conventions for HTTP server spans). Where an instrumentation of node:http has
 * already started one, it gets the route and the plugin instead.
 *
 * The trace of a caller continues only if the caller is trusted: others could have each of their requests recorded. Their
 * requests begin a trace, which the operator's sampler judges, with a link to the caller's span.
 */
export class Tracing {
  readonly #telemetry: OpenTelemetry;
  readonly #trusted: TrustedPeers | undefined;
  readonly #scheme: string;

  private constructor(telemetry: OpenTelemetry, trusted: TrustedPeers | undefined, scheme: string) {
    this.#telemetry = telemetry;
    this.#trusted = trusted;
    this.#scheme = scheme;
  }

  /** Undefined without OpenTelemetry. `proxy`: whose word counts, everybody's, nobody's, or that of some peers. */
  static of(proxy: boolean | readonly string[], scheme: string): Tracing | undefined {
    const telemetry = openTelemetry();
    return telemetry && new Tracing(telemetry, proxy === false ? undefined : trustedPeers(proxy), scheme);
  }

  /** The context in which the request came. Take it at once: work that is queued later runs in another. */
  arrive(): Context {
    return this.#telemetry.active();
  }

  begin(ctx: Koa.Context, arrived: Context): TracedRequest {
    const telemetry = this.#telemetry;
    const { req } = ctx;
    const active = telemetry.spanOf(arrived);
    if (active !== undefined && active.spanContext().isRemote !== true)
      return { context: arrived, span: active, isForeign: true };
    const attributes = {
      'http.request.method': methodOf(req),
      'url.path': loggablePath(req.url!),
      'url.scheme': this.#scheme,
      'network.protocol.version': req.httpVersion,
      'client.address': ctx.ip,
    };
    const isTrusted = this.#trusted?.trusts(req.socket) === true;
    const parent = isTrusted ? telemetry.extract(arrived, req.headers) : arrived;
    const link = isTrusted ? undefined : parseTraceparent(req.headers.traceparent);
    const span = telemetry.startSpan(
      methodOf(req),
      {
        kind: SpanKind.server,
        attributes,
        ...(!isTrusted && { root: true }),
        ...(link && {
          links: [
            {
              context: {
                traceId: link.trace_id,
                spanId: link.parent_id,
                traceFlags: link.flags,
                isRemote: true,
              },
            },
          ],
        }),
      },
      parent,
    );
    return { context: telemetry.withSpan(parent, span), span, isForeign: false };
  }

  /** Calls `run` with the request's span as the active one. */
  within<Result>({ context }: TracedRequest, run: () => Result): Result {
    return this.#telemetry.within(context, run);
  }

  /** Says which route and plugin the request came to. A span of another instrumentation ends together with the response. */
  static describe({ span }: TracedRequest, { req, res }: Koa.Context): void {
    const { route, requestId } = res as HostResponse;
    span.setAttribute('plugin_server.request_id', requestId);
    if (route === undefined) return;
    span.setAttribute('plugin_server.plugin', route.plugin);
    if (route.route === '') return;
    span.setAttribute('http.route', route.route);
    span.updateName(`${methodOf(req)} ${route.route}`);
  }

  end(traced: TracedRequest, ctx: Koa.Context): void {
    const { span, isForeign } = traced;
    if (isForeign) return;
    Tracing.describe(traced, ctx);
    const res = ctx.res as HostResponse;
    const { failure, sentStatus: status } = res;
    if (!res.abandoned || res.headersSent) span.setAttribute('http.response.status_code', status);
    if (status >= 500)
      this.#telemetry.markFailed(span, failure === undefined ? String(status) : errorType(failure));
    span.end();
  }

  /** For log lines. */
  static idsOf({ span }: TracedRequest): TraceIds {
    const { traceId, spanId } = span.spanContext();
    return { trace_id: traceId, span_id: spanId };
  }

  /** Has the spans exported that have ended. Rejects when that fails or takes too long. */
  flush(): Promise<void> {
    return withDeadline(FLUSH, () => this.#telemetry.flush());
  }
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

function methodOf({ method }: IncomingMessage): string {
  return METHODS.has(method!) ? method! : '_OTHER';
}
