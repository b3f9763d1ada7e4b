import type { SessionRecord, SessionSummary } from '../store.js';

/**
 * How the embedded store lays out a record, format 1: fixed fields first, so that lists and sweeps read no data.
 *
 *      0  secretHash, 32 bytes                     72  indexed
 *     32  version                                  80  length of userid in bytes, 16 bits
 *     40  created    48  touched                   82  userid, UTF-8
 *     56  expires    64  ends                          data, UTF-8
 *
 * Numbers are little-endian; those not said to be otherwise are doubles.
 */
export interface StoredRecord extends SessionRecord {
  /** The time under which the record stands in the expiry index. */
  readonly indexed: number;
}

export function encodeRecord(record: StoredRecord): Buffer {
  const useridBytes = Buffer.byteLength(record.userid);
  const buffer = Buffer.allocUnsafe(at.text + useridBytes + Buffer.byteLength(record.data));
  record.secretHash.copy(buffer, 0);
  buffer.writeDoubleLE(record.version, at.version);
  buffer.writeDoubleLE(record.created, at.created);
  buffer.writeDoubleLE(record.touched, at.touched);
  buffer.writeDoubleLE(record.expires, at.expires);
  buffer.writeDoubleLE(record.ends, at.ends);
  buffer.writeDoubleLE(record.indexed, at.indexed);
  buffer.writeUInt16LE(useridBytes, at.useridBytes);
  buffer.write(record.userid, at.text);
  buffer.write(record.data, at.text + useridBytes);
  return buffer;
}

/** Reads what `encodeRecord` wrote into the first `size` bytes of a buffer that may be used again afterwards. */
export function decodeRecord(handle: string, buffer: Buffer, size: number): StoredRecord {
  const data = at.text + buffer.readUInt16LE(at.useridBytes);
  return {
    ...decodeSummary(handle, buffer),
    secretHash: Buffer.from(buffer.subarray(0, at.version)),
    userid: buffer.toString('utf8', at.text, data),
    version: buffer.readDoubleLE(at.version),
    data: buffer.toString('utf8', data, size),
    indexed: buffer.readDoubleLE(at.indexed),
  };
}

export function decodeSummary(handle: string, buffer: Buffer): SessionSummary {
  return {
    handle,
    created: buffer.readDoubleLE(at.created),
    touched: buffer.readDoubleLE(at.touched),
    expires: buffer.readDoubleLE(at.expires),
    ends: buffer.readDoubleLE(at.ends),
  };
}

const at = {
  version: 32,
  created: 40,
  touched: 48,
  expires: 56,
  ends: 64,
  indexed: 72,
  useridBytes: 80,
  text: 82,
} as const;
