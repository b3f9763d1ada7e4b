import { crc32 } from 'node:zlib';

/**
 * The CRC-32 (IEEE 802.3) of an entry of an LMDB file, key included, so that a value under another key has another one. It
 * shows every change of one to three bits in values up to 11 KB, of two bits in any, and every burst of up to 32 bits; of
 * other changes it misses one in 2^32. It is no protection against somebody who can write the file.
 */
export function checksum(key: Uint8Array, value: Uint8Array): number {
  return checksumFrom(key, value, 0);
}

/** The value of an entry with the checksum before it. */
export function withChecksum(key: Uint8Array, value: Uint8Array): Buffer {
  const buffer = Buffer.allocUnsafe(checksumLength + value.length);
  buffer.set(value, checksumLength);
  writeChecksum(key, buffer);
  return buffer;
}

/** Writes the checksum of what stands behind the place that was left for it. */
export function writeChecksum(key: Uint8Array | string, buffer: Buffer): void {
  buffer.writeUInt32LE(checksumFrom(key, buffer, checksumLength));
}

/** Whether what stands behind the checksum is what was stored: of lmdb's buffer, as much as its `length` says. */
export function isIntact(key: string, stored: Buffer): boolean {
  return (
    stored.length >= checksumLength && checksumFrom(key, stored, checksumLength) === stored.readUInt32LE()
  );
}

/** Where the value begins behind its checksum. Bytes. */
export const checksumLength = 4;

/** The value behind the checksum; undefined where it is not what was stored. */
export function withoutChecksum(key: Uint8Array, stored: Uint8Array): Buffer | undefined {
  if (stored.length < checksumLength) return undefined;
  const { buffer, byteOffset, length } = stored;
  const value = Buffer.from(buffer, byteOffset + checksumLength, length - checksumLength);
  const expected = new DataView(buffer, byteOffset, checksumLength).getUint32(0, true);
  return checksum(key, value) === expected ? value : undefined;
}

/** Of a key, and of the bytes that stand from a place on. */
function checksumFrom(key: Uint8Array | string, bytes: Uint8Array, from: number): number {
  return crcOf(bytes, from, typeof key === 'string' ? crcOfText(key) : crcOf(key, 0, 0));
}

/** Of a text's UTF-8. */
function crcOfText(text: string): number {
  let crc = ~0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) return crc32(text);
    crc = after0[(crc ^ unit) & 0xff]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** zlib's `crc32` of the bytes from a place on, after bytes whose own is `before`. */
function crcOf(bytes: Uint8Array, from: number, before: number): number {
  const { length } = bytes;
  if (length - from > longest) {
    return crc32(new Uint8Array(bytes.buffer, bytes.byteOffset + from, length - from), before);
  }
  let crc = ~before;
  let at = from;
  for (; at + 8 <= length; at += 8) {
    crc =
      after7[(crc ^ bytes[at]!) & 0xff]! ^
      after6[((crc >>> 8) ^ bytes[at + 1]!) & 0xff]! ^
      after5[((crc >>> 16) ^ bytes[at + 2]!) & 0xff]! ^
      after4[(crc >>> 24) ^ bytes[at + 3]!]! ^
      after3[bytes[at + 4]!]! ^
      after2[bytes[at + 5]!]! ^
      after1[bytes[at + 6]!]! ^
      after0[bytes[at + 7]!]!;
  }
  for (; at < length; at += 1) crc = after0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Up to so many bytes, a call of zlib's takes longer than they do here. */
const longest = 400;

/** What a byte adds that is followed by so many others: they are looked up eight at a time. */
const after0 = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});
const next = (table: Int32Array) => table.map((crc) => after0[crc & 0xff]! ^ (crc >>> 8));
const after1 = next(after0);
const after2 = next(after1);
const after3 = next(after2);
const after4 = next(after3);
const after5 = next(after4);
const after6 = next(after5);
const after7 = next(after6);
