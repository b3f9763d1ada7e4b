import { jsonText } from '../kit/json-text.js';
import { MAX_VALUE, storageError } from './errors.js';

/**
 * The JSON text of a value that reads back as the same value.
 * @throws TypeError that names the place of a value that JSON cannot represent; HttpError `value_too_large`
 */
export function encodeValue(value: unknown, where: () => string): string {
  const text = jsonText(value, where);
  // Most texts are short, and no character has more than three bytes for each unit.
  if (text.length * 3 > MAX_VALUE) {
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_VALUE) throw storageError('value_too_large', { bytes });
  }
  return text;
}
