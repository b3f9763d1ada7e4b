import type { IncomingMessage } from 'node:http';

/** Types whose body the quick way may take: no charset, or UTF-8. */
const QUICK_TYPE = /^(?:application\/json|text\/javascript|text\/plain)(?:; ?charset=utf-8)?$/i;

/** The bytes of a small JSON body that has arrived whole, taken with one read; undefined for every other body. */
export function takeQuickBody(req: IncomingMessage, limit: number): Buffer | undefined {
  const { 'content-length': length, 'content-type': type, 'content-encoding': encoding } = req.headers;
  if (
    length === undefined ||
    type === undefined ||
    encoding !== undefined ||
    !req.complete ||
    req.readableFlowing !== null ||
    !(Number(length) <= limit) ||
    !QUICK_TYPE.test(type)
  ) {
    return undefined;
  }
  return readArrived(req, Number(length));
}

/** Node 26 gives a body that has arrived whole in the pieces it came in, Node before that in one. */
export function readArrived(req: IncomingMessage, length: number): Buffer {
  const first = req.read() as Buffer | null;
  if (first === null) return EMPTY;
  if (first.length === length) return first;
  const chunks = [first];
  for (let next = req.read(); next !== null; next = req.read()) chunks.push(next);
  return Buffer.concat(chunks);
}

const EMPTY = Buffer.alloc(0);
