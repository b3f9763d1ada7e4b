import { crc32 } from 'node:zlib';

/**
 * The CRC-32 (IEEE 802.3) of an entry of an LMDB file, key included, so that a value under another key has another one. It
 * shows every change of one to three bits in values up to 11 KB, of two bits in any, and every burst of up to 32 bits; of
 * other changes it misses one in 2^32. It is no protection against somebody who can write the file.
 */
export function checksum(key: Uint8Array, value: Uint8Array): number {
  return crc32(value, crc32(key));
}

/** The value of an entry with the checksum before it. */
export function withChecksum(key: Uint8Array, value: Uint8Array): Buffer {
  const buffer = Buffer.allocUnsafe(checksumLength + value.length);
  buffer.set(value, checksumLength);
  buffer.writeUInt32LE(checksum(key, value));
  return buffer;
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
