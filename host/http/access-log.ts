import type { IncomingMessage } from 'node:http';
import type { TraceIds } from '../kit/audit.js';
import { type Log, ofAccess, timestamp } from '../log/index.js';
import { loggablePath } from './loggable-path.js';
import type { HostResponse } from './socket/response.js';

/** One line per request. The path is the route's template, if there is a route; a query string is never logged. */
export type AccessLog = (request: IncomingMessage, response: HostResponse, seconds: number) => void;

/** A line a WebSocket, when it closes: how long it was open, and the code that it closed with (RFC 6455 section 7.4). */
export type SocketLog = (
  request: IncomingMessage,
  response: HostResponse,
  seconds: number,
  code: number,
) => void;

export function socketLog({ logger }: Log): SocketLog {
  return ({ method }, { requestId: request_id, route, trace }, seconds, code) => {
    const ms = Math.round(seconds * 1e6) / 1e3;
    const about = { request_id, method, plugin: route?.plugin, route: route?.route, status: 101 };
    logger.info({ ...about, ms, code, ...trace, [ofAccess]: true }, 'WebSocket closed');
  };
}

/** The fields are known and need no redaction, so that the line is put together here; pino writes all other lines. */
export function accessLog(log: Log): AccessLog {
  if (!log.logger.isLevelEnabled('info')) return () => {};
  let lines = '';
  // All lines of one turn of the event loop are written together, once the responses are on their way.
  const write = () => {
    log.writeAccess(lines);
    lines = '';
  };
  return (request, response, seconds) => {
    if (lines === '') process.nextTick(write);
    lines += line(request, response, seconds);
  };
}

/** Request ids, methods and trace ids have no character that JSON would escape. */
function line(request: IncomingMessage, response: HostResponse, seconds: number): string {
  const { route } = response;
  let text = `{"level":"info","time":"${timestamp()}","request_id":"${response.requestId}","method":"${request.method}"`;
  if (route !== undefined) text += route.logged;
  if (route === undefined || route.route === '')
    text += `,"path":${JSON.stringify(loggablePath(request.url!))}`;
  text += `,"status":${response.sentStatus},"ms":${Math.round(seconds * 1e6) / 1e3}`;
  if (response.abandoned && response.rawStatus === 0) text += ',"aborted":true';
  const { trace } = response;
  if (trace !== undefined) text += traceMembers(trace);
  return `${text},"msg":"request"}\n`;
}

function traceMembers({ trace_id, span_id, parent_id }: TraceIds): string {
  const span = span_id === undefined ? `"parent_id":"${parent_id}"` : `"span_id":"${span_id}"`;
  return `,"trace_id":"${trace_id}",${span}`;
}
