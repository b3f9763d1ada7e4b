import { hash, randomBytes } from 'node:crypto';

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

/** A new id; with a handle, a new secret for that handle. */
export function makeSessionId(handle = randomBytes(12).toString('base64url')): SessionId {
  const secret = randomBytes(20).toString('base64url');
  return { id: handle + secret, handle, secretHash: hashSecret(secret) };
}

/** Reads an id as a client sent it; undefined when it is none. Exactly one text stands for an id. */
export function parseSessionId(text: string): SessionId | undefined {
  if (!sessionIdPattern.test(text)) return undefined;
  return { id: text, handle: text.slice(0, 16), secretHash: hashSecret(text.slice(16)) };
}

/** Whether `text` has the form of a handle. */
export function isHandle(text: string): boolean {
  return handlePattern.test(text);
}

/** The form of an id, for descriptions: its last character carries four bits only. */
export const sessionIdPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
export const handlePattern = /^[A-Za-z0-9_-]{16}$/;

function hashSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}
