import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import {
  checksum,
  checksumLength,
  isIntact,
  withChecksum,
  withoutChecksum,
  writeChecksum,
} from '../../databases/lmdb/checksum.js';

describe('the checksum of an entry of LMDB', () => {
  const keys = ['', 'a', 'shop/carts/ann', 'żółw \u{1F422}', 'k'.repeat(500), 'ü'.repeat(250)];
  /** Each length up to where zlib takes over, and beyond. */
  const lengths = [...Array(450).keys(), 4096, 100_000];
  const bytesOf = (length: number) =>
    Buffer.from(Array.from({ length }, (_, at) => (at * 167 + length) & 0xff));

  it('is the CRC-32 of the key and the value after it, whatever their lengths', () => {
    for (const key of keys.map((each) => Buffer.from(each))) {
      for (const length of lengths) {
        const value = bytesOf(length);
        expect(checksum(key, value), `${key}, ${length}`).to.equal(crc32(Buffer.concat([key, value])));
      }
    }
  });

  it('is the same for a key as a text, which is its UTF-8, and tells each changed byte', () => {
    for (const key of keys) {
      for (const length of [0, 1, 7, 8, 9, 150, 500]) {
        const stored = withChecksum(Buffer.from(key), bytesOf(length));
        const written = Buffer.concat([Buffer.alloc(checksumLength), bytesOf(length)]);
        writeChecksum(key, written);
        expect(written.equals(stored), `${key}, ${length}`).to.equal(true);
        expect(withoutChecksum(Buffer.from(key), stored)).to.deep.equal(bytesOf(length));
        expect(isIntact(key, stored)).to.equal(true);
        for (let at = 0; at < stored.length; at += 1) {
          stored[at]! ^= 0x10;
          expect(isIntact(key, stored), `${key}, ${length}, ${at}`).to.equal(false);
          stored[at]! ^= 0x10;
        }
        expect(isIntact(`${key}x`, stored)).to.equal(false);
      }
    }
  });

  it('covers as much of a buffer as its length says, as lmdb gives it', () => {
    const stored = withChecksum(Buffer.from('key'), bytesOf(100));
    const longer = Buffer.concat([stored, bytesOf(20)]);
    expect(isIntact('key', longer)).to.equal(false);
    Object.defineProperty(longer, 'length', { value: stored.length });
    expect(isIntact('key', longer)).to.equal(true);
  });
});
