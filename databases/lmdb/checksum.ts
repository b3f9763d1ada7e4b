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
  writeChecksum(key, buffer);
  return buffer;
}

/** Writes the checksum of what stands behind the place that was left for it. */
export function writeChecksum(key: Uint8Array, buffer: Buffer): void {
  buffer.writeUInt32LE(checksum(key, buffer.subarray(checksumLength)));
}

/** Whether what stands behind the checksum is what was stored: of lmdb's buffer, as much as its `length` says. */
export function isIntact(key: Uint8Array, stored: Buffer): boolean {
  const { buffer, byteOffset, length } = stored;
  if (length < checksumLength) return false;
  const value = new Uint8Array(buffer, byteOffset + checksumLength, length - checksumLength);
  return checksum(key, value) === stored.readUInt32LE();
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
