import type { FileHandle } from 'node:fs/promises';
import type { Context } from 'koa';
import { isRangeFresh, startAnswer, type Validators } from './file-conditions.js';
import { fileError } from './file-errors.js';
import { type OpenFile, versionOf } from './served-folder.js';

/**
 * Answers with a file of the given type or ending (`.png`), or the part of it that the request's Range names (RFC 9110
 * sections 13 and 14), and closes it. A request for several ranges gets the whole file, as that section allows.
 */
export async function sendOpenFile(
  ctx: Context,
  { handle, stat }: OpenFile,
  contentType: string,
): Promise<void> {
  let streaming = false;
  try {
    const size = Number(stat.size);
    const validators = { etag: `"${versionOf(stat)}"`, modified: stat.mtime };
    if (!startAnswer(ctx, validators)) return;
    const range = requestedRange(ctx, size, validators);
    ctx.set('Accept-Ranges', 'bytes');
    if (range) {
      ctx.status = 206;
      ctx.set('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
    }
    const { start, end } = range ?? { start: 0, end: size - 1 };
    ctx.type = contentType;
    // Koa knows no type for some endings of files.
    if (ctx.type === '') ctx.type = UNKNOWN;
    if (size === 0) {
      ctx.body = '';
    } else if (ctx.method !== 'HEAD' && !ctx.req.socket.destroyed) {
      ctx.body = readRange(ctx, handle, start, end);
      streaming = true;
    }
    ctx.length = end - start + 1;
  } finally {
    if (!streaming) await handle.close();
  }
}

const UNKNOWN = 'application/octet-stream';

/** The part that the request names. Undefined means the whole file: several ranges, other units, invalid ranges. */
function requestedRange(
  ctx: Context,
  size: number,
  validators: Validators,
): { start: number; end: number } | undefined {
  // RFC 9110 section 14.2 defines ranges for GET alone.
  if (ctx.method !== 'GET') return undefined;
  const [, first = '', last = ''] = /^bytes=[ \t,]*(\d*)-(\d*)[ \t,]*$/i.exec(ctx.get('Range')) ?? [];
  if (first + last === '' || !isRangeFresh(ctx, validators)) return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < start) return undefined;
  if (start > end) {
    throw fileError('range_not_satisfiable', { size }, { headers: { 'Content-Range': `bytes */${size}` } });
  }
  return { start, end };
}

/** Koa destroys the stream, which closes the file, when the response is complete or its connection closes. */
function readRange(ctx: Context, handle: FileHandle, start: number, end: number) {
  const stream = handle.createReadStream({ start, end });
  // A file that was truncated cannot fill the announced length: close the connection, or the client waits for the rest.
  stream.once('end', () => {
    if (stream.bytesRead < end - start + 1) ctx.res.destroy();
  });
  return stream;
}
