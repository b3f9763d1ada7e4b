import { hash } from 'node:crypto';

/** Bytes before the handle in a key of the index by user. */
export const userKeyPrefix = 16;

/** Userids have any length and may contain NUL; their hashes do not. */
export function userPrefix(userid: string): Buffer {
  return hash('sha256', userid, 'buffer').subarray(0, userKeyPrefix);
}

export function userKey(userid: string, handle: Buffer): Buffer {
  const key = Buffer.allocUnsafe(userKeyPrefix + handle.length);
  userPrefix(userid).copy(key);
  handle.copy(key, userKeyPrefix);
  return key;
}

/** Big-endian, so that keys sort by time. */
export function expiryKey(time: number, handle: Buffer): Buffer {
  const key = Buffer.allocUnsafe(8 + handle.length);
  key.writeDoubleBE(time);
  handle.copy(key, 8);
  return key;
}

/** The time in a key of the index by expiry; NaN where it is none. */
export function timeIn(key: Buffer): number {
  return key.length < 8 ? Number.NaN : key.readDoubleBE();
}
