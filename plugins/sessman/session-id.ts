import { hash, randomFillSync } from 'node:crypto';

/**
 * A session id is 32 random bytes in base64url, 43 characters. The first 12 bytes (16 characters) are the handle, which
 * names the record and may be shown; the other 20 bytes are the secret, of which stores keep only the SHA-256.
 */
export interface SessionId {
  /** The whole id: only its owner sees it. */
  readonly id: string;
  readonly handle: string;
  /** SHA-256 of the secret's 27 characters. */
  readonly secretHash: Buffer;
}

export function makeSessionId(): SessionId {
  return split(randomText(32));
}

/** A new id with the same handle and another secret. */
export function renewSessionId(handle: string): SessionId {
  return split(handle + randomText(20));
}

/** Reads an id as a client sent it; undefined when it is malformed. Each id has exactly one form. */
export function parseSessionId(text: string): SessionId | undefined {
  return typeof text === 'string' && sessionIdPattern.test(text) ? split(text) : undefined;
}

/** Whether `text` has the form of a handle. */
export function isHandle(text: string): boolean {
  return typeof text === 'string' && handlePattern.test(text);
}

/** Characters. */
export const handleLength = 16;

/** The form of an id; its last character carries only four bits. */
export const sessionIdPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
export const handlePattern = /^[A-Za-z0-9_-]{16}$/;

function split(id: string): SessionId {
  return { id, handle: id.slice(0, handleLength), secretHash: sha256(id.slice(handleLength)) };
}

/** Random bytes for many ids: a call of the system's generator costs more than the rest of an id. */
const pool = Buffer.allocUnsafeSlow(4096);
let used = pool.length;

/** So many random bytes in base64url. No byte is used twice, nor kept once it was used. */
function randomText(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const end = used + bytes;
  const text = pool.toString('base64url', used, end);
  pool.fill(0, used, end);
  used = end;
  return text;
}

function sha256(text: string): Buffer {
  // Through text, which costs half as much as a Buffer created natively.
  return Buffer.from(hash('sha256', text, 'binary'), 'latin1');
}
