import { createCipheriv, createDecipheriv, createHash, hash, randomFillSync } from 'node:crypto';

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
  readonly #keys: ReadonlyMap<string, RecordKeys>;
  /** Of the key that encrypts. */
  readonly #sealing: RecordKeys;
  /** In the order of the list. */
  readonly fingerprints: readonly string[];

  /** @param keys 32 bytes in base64 each, or `plain`; checked before */
  constructor(keys: readonly string[]) {
    const pairs = keys.map(
      (key) => [fingerprintOf(key), new RecordKeys(Buffer.from(key, 'base64'))] as const,
    );
    this.fingerprints = pairs.map(([fingerprint]) => fingerprint);
    this.#keys = new Map(pairs);
    this.#sealing = this.#keys.get(this.first)!;
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
    const { first } = this;
    if (first === plain) return text;
    const nonce = randomNonce();
    const cipher = createCipheriv('aes-256-gcm', this.#sealing.of(handle), nonce);
    cipher.setAAD(Buffer.from(field + handle));
    const encrypted = cipher.update(text, 'utf8');
    // In this mode nothing is held back until then.
    cipher.final();
    const length = nonceLength + tagLength + encrypted.length;
    const sealed = length <= scratch.length ? scratch : Buffer.allocUnsafe(length);
    sealed.set(nonce);
    sealed.set(cipher.getAuthTag(), nonceLength);
    sealed.set(encrypted, nonceLength + tagLength);
    return mark + first + sealed.toString('base64', 0, length);
  }

  /** The text; undefined where it was sealed with another key, or is not what was sealed. */
  open(field: SealedField, handle: string, stored: string): string | undefined {
    const fingerprint = sealedWith(stored);
    const keys = this.#keys.get(fingerprint);
    if (keys === undefined) return undefined;
    if (fingerprint === plain) return stored;
    const bytes = Buffer.from(stored.slice(mark.length + fingerprintLength), 'base64');
    if (bytes.length < nonceLength + tagLength) return undefined;
    const key = keys.of(handle);
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceLength));
    decipher.setAAD(Buffer.from(field + handle));
    decipher.setAuthTag(bytes.subarray(nonceLength, nonceLength + tagLength));
    try {
      const text = decipher.update(bytes.subarray(nonceLength + tagLength));
      decipher.final();
      return text.toString();
    } catch {
      return undefined;
    }
  }
}

/**
 * The keys of records, derived from one of `encryption_key`: HMAC-SHA-256 (RFC 2104) of `sessman-1` and the handle. It is made
 * of two hashes here, because an Hmac of node:crypto takes twice the time, and as long as encrypting a session.
 */
class RecordKeys {
  readonly #inner: Buffer;
  readonly #outer: Buffer;
  /** By handle: a session is mostly read, and then written again. */
  readonly #latest = new Map<string, Buffer>();

  /** @param key 32 bytes */
  constructor(key: Buffer) {
    this.#inner = Buffer.alloc(hashBlock, 0x36);
    this.#outer = Buffer.alloc(hashBlock + hashLength, 0x5c);
    for (const [i, byte] of key.entries()) {
      this.#inner[i]! ^= byte;
      this.#outer[i]! ^= byte;
    }
  }

  of(handle: string): Buffer {
    let key = this.#latest.get(handle);
    if (key !== undefined) return key;
    key = this.#derive(handle);
    if (this.#latest.size === mostKept) this.#latest.clear();
    this.#latest.set(handle, key);
    return key;
  }

  #derive(handle: string): Buffer {
    const text = Buffer.concat([this.#inner, Buffer.from(`sessman-1${handle}`)]);
    // Through text, which costs half as much as a Buffer created natively.
    this.#outer.write(hash('sha256', text, 'binary'), hashBlock, 'latin1');
    return Buffer.from(hash('sha256', this.#outer, 'binary'), 'latin1');
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
/** Of SHA-256. */
const hashBlock = 64;
const hashLength = 32;
/** Keys of records: less than a megabyte. */
const mostKept = 4096;

/** Where a text is put together, if it fits: most sessions are smaller. */
const scratch = Buffer.allocUnsafeSlow(16_384);

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
