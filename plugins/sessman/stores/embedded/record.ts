import type { SessionRecord, SessionSummary } from '../../store.js';

/**
 * The layout of a record, format 1. Fixed fields come first, so lists and sweeps read no data.
 *
 *      0  secretHash, 32 bytes                     72  indexed
 *     32  version                                  80  length of userid in bytes, 16 bits
 *     40  created    48  touched                   82  userid, UTF-8
 *     56  expires    64  ends                          data, UTF-8
 *
 * Numbers are little-endian, and doubles unless noted otherwise.
 */
export interface StoredRecord extends SessionRecord {
  /** The time under which the expiry index holds the record. */
  readonly indexed: number;
}

/** @param indexed see StoredRecord */
export function encodeRecord(record: SessionRecord, indexed: number): Buffer {
  const useridBytes = Buffer.byteLength(record.userid);
  const buffer = Buffer.allocUnsafe(at.text + useridBytes + Buffer.byteLength(record.data));
  record.secretHash.copy(buffer, 0);
  buffer.writeDoubleLE(record.version, at.version);
  buffer.writeDoubleLE(record.created, at.created);
  buffer.writeDoubleLE(record.touched, at.touched);
  buffer.writeDoubleLE(record.expires, at.expires);
  buffer.writeDoubleLE(record.ends, at.ends);
  buffer.writeDoubleLE(indexed, at.indexed);
  buffer.writeUInt16LE(useridBytes, at.useridBytes);
  buffer.write(record.userid, at.text);
  buffer.write(record.data, at.text + useridBytes);
  return buffer;
}

/** Reads what `encodeRecord` wrote, from the first `size` bytes of a buffer that may be reused afterwards. */
export function decodeRecord(handle: string, buffer: Buffer, size: number): StoredRecord {
  const view = viewOf(buffer);
  const data = at.text + view.getUint16(at.useridBytes, true);
  const secretHash = Buffer.allocUnsafe(at.version);
  buffer.copy(secretHash, 0, 0, at.version);
  return {
    handle,
    secretHash,
    userid: buffer.toString('utf8', at.text, data),
    data: buffer.toString('utf8', data, size),
    version: view.getFloat64(at.version, true),
    created: view.getFloat64(at.created, true),
    touched: view.getFloat64(at.touched, true),
    expires: view.getFloat64(at.expires, true),
    ends: view.getFloat64(at.ends, true),
    indexed: view.getFloat64(at.indexed, true),
  };
}

export function decodeSummary(handle: string, buffer: Buffer): SessionSummary {
  const view = viewOf(buffer);
  return {
    handle,
    created: view.getFloat64(at.created, true),
    touched: view.getFloat64(at.touched, true),
    expires: view.getFloat64(at.expires, true),
    ends: view.getFloat64(at.ends, true),
  };
}

let lastBuffer: Buffer | undefined;
let lastView: DataView = new DataView(new ArrayBuffer(0));

/** A view of the buffer. lmdb mostly reuses one buffer, and a view reads numbers several times as fast as a Buffer. */
function viewOf(buffer: Buffer): DataView {
  if (buffer !== lastBuffer) {
    lastBuffer = buffer;
    lastView = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  return lastView;
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
