import { createCipheriv, createDecipheriv, createHash, createHmac, randomFillSync } from 'node:crypto';

/** The fields that are encrypted. */
export type SealedField = 'data' | 'about' | 'ip' | 'user_agent';

/** Stands for no encryption, in the list of keys and as a fingerprint. */
export const plain = 'plain';

/**
 * The keys of `encryption_key`. The first one encrypts, all decrypt: AES-256-GCM with a random nonce for each write and a
 * key for each record, so that no key ever encrypts so much that a nonce could repeat (NIST SP 800-38D, section 8.3).
 * The field and the handle are authenticated, so that no text can be put in the place of another.
 *
 * What is sealed is text: a mark, the key's fingerprint, then nonce, tag and ciphertext in base64. Nothing in the clear
 * begins with the mark: JSON does not, and neither does an address.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, Buffer>;
  /** In the order of the list. */
  readonly fingerprints: readonly string[];

  /** @param keys 32 bytes in base64 each, or `plain`; checked before */
  constructor(keys: readonly string[]) {
    const pairs = keys.map((key) => [fingerprintOf(key), Buffer.from(key, 'base64')] as const);
    this.fingerprints = pairs.map(([fingerprint]) => fingerprint);
    this.#keys = new Map(pairs);
  }

  /** The fingerprint of the key that encrypts. */
  get first(): string {
    return this.fingerprints[0]!;
  }

  /** Whether it can encrypt or decrypt anything. */
  get encrypts(): boolean {
    return this.fingerprints.some((fingerprint) => fingerprint !== plain);
  }

  seal(field: SealedField, handle: string, text: string): string {
    if (this.first === plain) return text;
    const nonce = randomNonce();
    const cipher = createCipheriv('aes-256-gcm', this.#recordKey(this.first, handle), nonce);
    cipher.setAAD(Buffer.from(field + handle));
    const encrypted = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return mark + this.first + Buffer.concat([nonce, cipher.getAuthTag(), encrypted]).toString('base64');
  }

  /** The text; undefined where it was sealed with another key, or is not what was sealed. */
  open(field: SealedField, handle: string, stored: string): string | undefined {
    const fingerprint = sealedWith(stored);
    if (!this.#keys.has(fingerprint)) return undefined;
    if (fingerprint === plain) return stored;
    const bytes = Buffer.from(stored.slice(mark.length + fingerprintLength), 'base64');
    if (bytes.length < nonceLength + tagLength) return undefined;
    const key = this.#recordKey(fingerprint, handle);
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceLength));
    decipher.setAAD(Buffer.from(field + handle));
    decipher.setAuthTag(bytes.subarray(nonceLength, nonceLength + tagLength));
    try {
      const start = decipher.update(bytes.subarray(nonceLength + tagLength));
      return Buffer.concat([start, decipher.final()]).toString('utf8');
    } catch {
      return undefined;
    }
  }

  #recordKey(fingerprint: string, handle: string): Buffer {
    return createHmac('sha256', this.#keys.get(fingerprint)!).update(`sessman-1${handle}`).digest();
  }
}

/** The fingerprint of the key that sealed a stored text. */
export function sealedWith(stored: string): string {
  return stored.startsWith(mark) ? stored.slice(mark.length, mark.length + fingerprintLength) : plain;
}

/** Identifies a key, and reveals nothing of it. */
export function fingerprintOf(key: string): string {
  if (key === plain) return plain;
  const hash = createHash('sha256').update('sessman-fingerprint').update(Buffer.from(key, 'base64'));
  return hash.digest('hex').slice(0, fingerprintLength);
}

/** A character that no JSON, address or User-Agent begins with. */
const mark = '\u0001';
/** Characters. */
const fingerprintLength = 12;
/** Bytes. */
const nonceLength = 12;
const tagLength = 16;

/** Random bytes for many nonces: a call of the generator costs as much as encrypting a session. */
const pool = Buffer.allocUnsafeSlow(nonceLength * 256);
let used = pool.length;

/** No byte is used twice. It is valid until the pool is filled again: callers use it at once. */
function randomNonce(): Buffer {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += nonceLength;
  return pool.subarray(used - nonceLength, used);
}
