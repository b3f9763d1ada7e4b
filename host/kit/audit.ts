import type { Context } from 'koa';

/**
 * Writes a line about something that somebody may have to account for. It has `audit: true` and the event's name, is written
 * at every level but `silent`, and is kept longest when the log cannot be written.
 */
export type Audit = (event: string, about: object, message: string) => void;

/** Which trace a request belongs to, as members of a log line (W3C Trace Context). */
export interface TraceIds {
  readonly trace_id: string;
  /** Of a server that traces: its own span. */
  readonly span_id?: string;
  /** Of one that does not: the caller's span. */
  readonly parent_id?: string;
}

/** Who asked, as members of an audit line. */
export interface Caller extends Partial<TraceIds> {
  /** The client's address; `unix` for a peer on a Unix socket. */
  readonly client: string;
  readonly request_id: string;
}

export function callerOf(ctx: Context): Caller {
  const address = withoutPort(ctx.ip).replace(/^::ffff:(?=[\d.]+$)/i, '');
  const { trace } = ctx.res as { trace?: TraceIds };
  return { client: address.slice(0, MOST_CHARACTERS) || 'unix', request_id: ctx.requestId, ...trace };
}

/** Of the text of an address (INET6_ADDRSTRLEN). A proxy may write anything. */
const MOST_CHARACTERS = 45;

/** Some proxies write the port into X-Forwarded-For: `7.7.7.7:4001`, `[2001:db8::1]:4001`. */
export function withoutPort(address: string): string {
  if (address.startsWith('[')) return address.slice(1).split(']', 1)[0]!;
  const colon = address.indexOf(':');
  return colon >= 0 && colon === address.lastIndexOf(':') ? address.slice(0, colon) : address;
}
