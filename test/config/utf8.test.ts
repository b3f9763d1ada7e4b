import { expect } from 'chai';
import { findInvalidUtf8 } from '../../config/index.js';

describe('where bytes stop being UTF-8', () => {
  const cases: readonly (readonly [bytes: readonly number[], at: number | undefined])[] = [
    [[], undefined],
    [[0x61, 0xc3, 0xa9], undefined],
    [[0xef, 0xbf, 0xbd], undefined],
    [[0xff], 0],
    [[0x61, 0xc3, 0xa9, 0xff], 2],
    [[0xc3], 0],
    // The replacement character itself, as often as it was written.
    [[0xef, 0xbf, 0xbd, 0xff], 1],
    [[0x61, 0xef, 0xbf, 0xbd, 0xef, 0xbf, 0xbd, 0x62, 0xff, 0x63], 4],
    // Bytes that are like a part of it.
    [[0xff, 0xbf, 0xbd], 0],
    [[0xef, 0x41, 0xbd], 0],
    [[0xef, 0xbf, 0x41], 0],
    [[0xf0, 0x9f, 0x98, 0x80, 0xff], 2],
  ];
  for (const [bytes, at] of cases) {
    it(`${bytes.map((byte) => byte.toString(16)).join(' ') || 'none'}: ${at ?? 'nowhere'}`, () => {
      expect(findInvalidUtf8(Buffer.from(bytes))).to.equal(at);
    });
  }
});
