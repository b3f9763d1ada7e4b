import { isUtf8 } from 'node:buffer';

/**
 * Where bytes stop being UTF-8, as an index into the text that `bytes.toString()` gives; undefined where all of them
 * are. Decoding such bytes replaces them with U+FFFD and loses them.
 */
export function findInvalidUtf8(bytes: Buffer): number | undefined {
  if (isUtf8(bytes)) return undefined;
  const text = bytes.toString();
  let from = 0;
  let offset = 0;
  for (;;) {
    const at = text.indexOf('\uFFFD', from);
    if (at === -1) return from;
    offset += Buffer.byteLength(text.slice(from, at));
    // U+FFFD itself may have been written.
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return at;
    offset += 3;
    from = at + 1;
  }
}
