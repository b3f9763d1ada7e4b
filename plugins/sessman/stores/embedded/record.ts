import {
  NEVER,
  type SessionExtras,
  type SessionHead,
  type SessionRecord,
  type SessionSummary,
} from '../../store.js';

/**
 * The layout of a record. Fixed fields come first, so lists and sweeps read no data.
 *
 *      0  secretHash, 32 bytes                     72  indexed
 *     32  version                                  80  length of userid in bytes, 16 bits
 *     40  created    48  touched                   82  userid, UTF-8
 *     56  expires    64  ends                          data, UTF-8
 *
 * Numbers are little-endian, and doubles unless noted otherwise.
 *
 * In format 2, the highest bit of the length is set, `secretHash` is inverted, so that version 0.1.0 finds no session,
 * and the epoch stands between the length and userid. Records are of format 1 until the first use of an epoch.
 *
 * Extras stand in a database of their own, because version 0.1.0 replaces the whole of a record that it changes. It
 * keeps `indexed` as it is, so the fraction of that says where extras are worth a look.
 */
export interface StoredHead extends SessionHead {
  /** The time under which the expiry index holds the record. */
  readonly indexed: number;
  readonly epoch: number;
}

export interface StoredRecord extends StoredHead, SessionRecord {}

/** `indexed` for a record that ends at that time: before it, but in the same millisecond. */
export function indexedFor(ends: number, hasExtras: boolean): number {
  return ends - (hasExtras ? 0.5 : 0.75);
}

/** Of a record that 0.1.0 made, or moved in the index, nothing is known; it has a whole number. */
export function mayHaveExtras(indexed: number): boolean {
  return indexed % 1 !== 0.25;
}

/** Whether it certainly has extras: this version wrote them with it. */
export function hasExtras(indexed: number): boolean {
  return indexed % 1 === 0.5;
}

/** @param created of the record, by which extras are told from those of an earlier record with the same handle */
export function encodeExtras(extras: SessionExtras, created: number): Buffer {
  return Buffer.from(JSON.stringify({ ...extras, created }));
}

export function decodeExtras(buffer: Buffer, created: number): SessionExtras | undefined {
  const { created: of, ...extras } = JSON.parse(buffer.toString()) as SessionExtras & { created: number };
  return of === created ? extras : undefined;
}

/** @param indexed see StoredHead */
export function encodeRecord(
  record: SessionRecord,
  indexed: number,
  epoch: number,
  secondFormat: boolean,
): Buffer {
  const useridBytes = Buffer.byteLength(record.userid);
  const text = secondFormat ? at.secondText : at.text;
  const buffer = Buffer.allocUnsafe(text + useridBytes + Buffer.byteLength(record.data));
  record.secretHash.copy(buffer, 0);
  buffer.writeDoubleLE(record.version, at.version);
  buffer.writeDoubleLE(record.created, at.created);
  buffer.writeDoubleLE(record.touched, at.touched);
  buffer.writeDoubleLE(record.expires, at.expires);
  buffer.writeDoubleLE(record.ends, at.ends);
  buffer.writeDoubleLE(indexed, at.indexed);
  buffer.writeUInt16LE(useridBytes, at.useridBytes);
  if (secondFormat) {
    invertHash(buffer);
    buffer[at.useridBytes + 1]! |= 0x80;
    buffer.writeDoubleLE(epoch, at.text);
  }
  buffer.write(record.userid, text);
  buffer.write(record.data, text + useridBytes);
  return buffer;
}

function invertHash(buffer: Buffer): void {
  for (let i = 0; i < at.version; i += 4) buffer.writeInt32LE(~buffer.readInt32LE(i), i);
}

/** Reads what `encodeRecord` wrote, from the first `size` bytes of a buffer that may be reused afterwards. */
export function decodeRecord(handle: string, buffer: Buffer, size: number): StoredRecord {
  const head = decodeHead(handle, buffer) as StoredHead & { data: string };
  head.data = buffer.toString('utf8', lastDataAt, size);
  return head;
}

/** Where the data of the record begin whose head was read last. */
let lastDataAt = 0;

/** Reads all but the data. */
export function decodeHead(handle: string, buffer: Buffer): StoredHead {
  const view = viewOf(buffer);
  const length = view.getUint16(at.useridBytes, true);
  const isSecond = length > 0x7fff;
  const text = isSecond ? at.secondText : at.text;
  lastDataAt = text + (length & 0x7fff);
  const secretHash = Buffer.allocUnsafe(at.version);
  buffer.copy(secretHash, 0, 0, at.version);
  if (isSecond) invertHash(secretHash);
  return {
    handle,
    secretHash,
    userid: buffer.toString('utf8', text, lastDataAt),
    version: view.getFloat64(at.version, true),
    created: view.getFloat64(at.created, true),
    touched: view.getFloat64(at.touched, true),
    expires: view.getFloat64(at.expires, true),
    ends: view.getFloat64(at.ends, true),
    indexed: view.getFloat64(at.indexed, true),
    epoch: isSecond ? view.getFloat64(at.text, true) : 0,
  };
}

/** Whether the userid begins with these bytes. */
export function hasUseridPrefix(buffer: Buffer, prefix: Buffer): boolean {
  const length = viewOf(buffer).getUint16(at.useridBytes, true);
  const text = length > 0x7fff ? at.secondText : at.text;
  return (
    (length & 0x7fff) >= prefix.length &&
    buffer.compare(prefix, 0, prefix.length, text, text + prefix.length) === 0
  );
}

/** Whether that is the userid, in UTF-8. */
export function hasUserid(buffer: Buffer, userid: Buffer): boolean {
  const length = viewOf(buffer).getUint16(at.useridBytes, true);
  const text = length > 0x7fff ? at.secondText : at.text;
  return (
    (length & 0x7fff) === userid.length &&
    buffer.compare(userid, 0, userid.length, text, text + userid.length) === 0
  );
}

/**
 * Whether the first `size` bytes can be a record of version 0.1.0, which has no checksum: its numbers are whole and in their
 * places, and its data is text. A broken disk mostly leaves noise or zeros. JSON has no NUL; U+FFFD stands for broken
 * UTF-8, but may also have been stored.
 */
export function isPlausible(buffer: Buffer, size: number): boolean {
  if (size < at.text) return false;
  const view = viewOf(buffer);
  const useridBytes = view.getUint16(at.useridBytes, true);
  if (useridBytes === 0 || useridBytes > size - at.text) return false;
  for (let place: number = at.version; place < at.indexed; place += 8) {
    const number = view.getFloat64(place, true);
    if (!Number.isInteger(number) || number < 1 || number > NEVER) return false;
  }
  const { data } = decodeRecord('', buffer, size);
  if (data.includes('\0')) return false;
  if (!data.includes('\ufffd')) return true;
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false;
  }
}

export function decodeSummary(
  handle: string,
  buffer: Buffer,
): SessionSummary & Pick<StoredHead, 'indexed' | 'epoch'> {
  const view = viewOf(buffer);
  return {
    handle,
    created: view.getFloat64(at.created, true),
    touched: view.getFloat64(at.touched, true),
    expires: view.getFloat64(at.expires, true),
    ends: view.getFloat64(at.ends, true),
    indexed: view.getFloat64(at.indexed, true),
    epoch: view.getUint16(at.useridBytes, true) > 0x7fff ? view.getFloat64(at.text, true) : 0,
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
  /** In format 2. */
  secondText: 90,
} as const;
