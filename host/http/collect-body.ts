import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createUnzip } from 'node:zlib';
import { hostError } from './errors.js';

/** All bytes of a body, decompressed; rejects with the 400, 413 or 415 for the client. */
export async function collectBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const encoding = (req.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  const decompress = DECOMPRESSORS.get(encoding);
  if (decompress === undefined) throw hostError('unsupported_encoding');
  return collectBytes(req, limit, decompress());
}

/** All bytes of a body as they come, or as `source` decompresses them. */
export function collectBytes(
  req: IncomingMessage,
  limit: number,
  source?: ReturnType<typeof createUnzip>,
): Promise<Buffer> {
  const bytes: Readable = source === undefined ? req : req.pipe(source);
  return new Promise((resolve, reject) => {
    if (req.destroyed && !req.complete) {
      reject(hostError('body_incomplete'));
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) fail(hostError('body_too_large', { limit }));
      else chunks.push(chunk);
    };
    const onEnd = () => {
      release();
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    };
    const onAbort = () => {
      if (!req.complete) fail(hostError('body_incomplete'));
    };
    const onError = (cause: Error) =>
      fail(
        hostError(source === undefined || !req.complete ? 'body_incomplete' : 'invalid_encoding', { cause }),
      );
    const onZlibError = (cause: Error) => fail(hostError('invalid_encoding', { cause }));
    const release = () => {
      bytes.off('data', onData);
      bytes.off('end', onEnd);
      req.off('close', onAbort);
      req.off('error', onError);
    };
    const fail = (error: Error) => {
      release();
      req.on('error', () => {});
      if (source !== undefined) {
        req.unpipe(source);
        source.destroy();
      }
      req.pause();
      reject(error);
    };
    bytes.on('data', onData);
    bytes.on('end', onEnd);
    req.on('close', onAbort);
    req.on('error', onError);
    source?.on('error', onZlibError);
  });
}

const DECOMPRESSORS = new Map<string, () => ReturnType<typeof createUnzip> | undefined>([
  ['identity', () => undefined],
  ['', () => undefined],
  ['gzip', createUnzip],
  ['x-gzip', createUnzip],
  ['deflate', createUnzip],
  ['br', createBrotliDecompress],
]);
