import type { IncomingMessage } from 'node:http';
import type { TraceIds } from '../kit/audit.js';

/** Version, trace id, parent id and flags. A later version may append more. No id is all zeros, and no version is ff. */
const FORM = /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:$|-)/;
const LENGTH_OF_VERSION_00 = 55;

/** The ids in a valid `traceparent` (W3C Trace Context section 3.2). None are made for a request without one. */
export function receivedTrace({ headers }: IncomingMessage): TraceIds | undefined {
  const { traceparent } = headers;
  if (typeof traceparent !== 'string') return undefined;
  const [, version, trace_id, parent_id] = FORM.exec(traceparent) ?? [];
  if (trace_id === undefined || parent_id === undefined) return undefined;
  if (version === '00' && traceparent.length !== LENGTH_OF_VERSION_00) return undefined;
  return { trace_id, parent_id };
}
