import { createHash } from 'node:crypto';

/** A strong ETag (RFC 9110, section 8.8.3) of a whole representation: the same bytes have the same ETag on every host. */
export function etagOf(content: string | Uint8Array): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`;
}
