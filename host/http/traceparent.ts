import type { TraceIds } from '../kit/audit.js';

export interface Traceparent {
  readonly trace_id: string;
  readonly parent_id: string;
  readonly flags: number;
}

/** Version, trace id, parent id and flags. A later version may append more. No id is all zeros, and no version is ff. */
const FORM = /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:$|-)/;
const LENGTH_OF_VERSION_00 = 55;

/** The header `traceparent` (W3C Trace Context section 3.2); undefined unless it is valid. */
export function parseTraceparent(header: unknown): Traceparent | undefined {
  if (typeof header !== 'string') return undefined;
  const [, version, trace_id, parent_id, flags] = FORM.exec(header) ?? [];
  if (trace_id === undefined || parent_id === undefined || flags === undefined) return undefined;
  if (version === '00' && header.length !== LENGTH_OF_VERSION_00) return undefined;
  return { trace_id, parent_id, flags: Number.parseInt(flags, 16) };
}

/** For log lines, of a server that does not trace: no ids are made for a request without the header. */
export function receivedIds(header: unknown): TraceIds | undefined {
  const received = parseTraceparent(header);
  return received && { trace_id: received.trace_id, parent_id: received.parent_id };
}
