import { mkdirSync } from 'node:fs';
import { open } from 'lmdb';
import { serveSessions } from './sessions-by-hand.mjs';

// Without overlappingSync a write's promise waits for the disk, and all writes of one turn share a commit.
mkdirSync(process.env.DATA, { recursive: true });
const root = open({ path: process.env.DATA, overlappingSync: false, maxDbs: 3 });
const records = root.openDB({
  name: 'records',
  keyEncoding: 'binary',
  encoding: 'binary',
  useVersions: true,
});
const byUser = root.openDB({ name: 'by-user', keyEncoding: 'binary', encoding: 'binary' });
const byExpiry = root.openDB({ name: 'by-expiry', keyEncoding: 'binary', encoding: 'binary' });
const nothing = Buffer.alloc(0);

serveSessions({
  create(record) {
    byUser.put(userKey(record), nothing);
    byExpiry.put(expiryKey(record), nothing);
    return records.put(record.handle, encode(record), record.version);
  },
  read,
  async change(handle, changed) {
    for (;;) {
      const old = read(handle);
      const record = old && changed(old);
      if (record === undefined) return undefined;
      // The expiry index keeps the earlier time: a sweeper that comes by then finds the record alive and moves it.
      if (await records.put(handle, encode(record), record.version, old.version)) return record;
    }
  },
});

function read(handle) {
  const bytes = records.getBinary(handle);
  return bytes && decode(handle, bytes);
}

function userKey({ userid, created, handle }) {
  const user = Buffer.from(userid);
  const key = Buffer.allocUnsafe(user.length + 1 + 8 + handle.length);
  user.copy(key);
  key[user.length] = 0;
  key.writeBigUInt64BE(BigInt(created), user.length + 1);
  handle.copy(key, user.length + 9);
  return key;
}

function expiryKey({ expires, handle }) {
  const key = Buffer.allocUnsafe(8 + handle.length);
  key.writeBigUInt64BE(BigInt(expires), 0);
  handle.copy(key, 8);
  return key;
}

// secret (32 bytes) · version · created · touched · ends · expires (8 bytes each) · length of userid (2) · userid · data
const headLength = 32 + 5 * 8 + 2;

function encode({ secret, version, created, touched, ends, expires, userid, data }) {
  const userLength = Buffer.byteLength(userid);
  const bytes = Buffer.allocUnsafe(headLength + userLength + Buffer.byteLength(data));
  secret.copy(bytes);
  bytes.writeDoubleBE(version, 32);
  bytes.writeDoubleBE(created, 40);
  bytes.writeDoubleBE(touched, 48);
  bytes.writeDoubleBE(ends, 56);
  bytes.writeDoubleBE(expires, 64);
  bytes.writeUInt16BE(userLength, 72);
  bytes.write(userid, headLength);
  bytes.write(data, headLength + userLength);
  return bytes;
}

function decode(handle, bytes) {
  const userEnd = headLength + bytes.readUInt16BE(72);
  return {
    handle,
    secret: bytes.subarray(0, 32),
    version: bytes.readDoubleBE(32),
    created: bytes.readDoubleBE(40),
    touched: bytes.readDoubleBE(48),
    ends: bytes.readDoubleBE(56),
    expires: bytes.readDoubleBE(64),
    userid: bytes.toString('utf8', headLength, userEnd),
    data: bytes.toString('utf8', userEnd),
  };
}
