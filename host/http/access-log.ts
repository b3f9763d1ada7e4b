import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { HostResponse } from './response.js';

/** A line a request. The path is the route's template where there is one; a query string is never logged. */
export type AccessLog = (request: IncomingMessage, response: HostResponse, seconds: number) => void;

/** W3C Trace Context section 3.2: version, trace id, parent id, flags. */
const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-[\da-f]{2}/;
/** Runs that may be a session id or another token. */
const TOKEN = /[\w-]{32,}/g;
const LONGEST_PATH = 256;

export function accessLog(log: Logger): AccessLog {
  if (!log.isLevelEnabled('info')) return () => {};
  return (request, response, seconds) => {
    const { route } = response;
    const trace = request.headers.traceparent;
    const ids = typeof trace === 'string' ? TRACEPARENT.exec(trace) : null;
    log.info(
      {
        request_id: response.requestId,
        method: request.method,
        plugin: route?.plugin,
        route: route?.route,
        path: route === undefined || route.route === '' ? loggablePath(request.url!) : undefined,
        status: response.statusCode,
        ms: Math.round(seconds * 1e6) / 1e3,
        aborted: response.writableFinished || response.writableEnded ? undefined : true,
        trace_id: ids?.[1],
        parent_id: ids?.[2],
      },
      'request',
    );
  };
}

/** A path without its query string and without what may be a token in it. */
export function loggablePath(url: string): string {
  const query = url.search(/[?#]/);
  const path = query < 0 ? url : url.slice(0, query);
  return path.slice(0, LONGEST_PATH).replaceAll(TOKEN, '[masked]');
}
