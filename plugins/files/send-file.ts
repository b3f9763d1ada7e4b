import type { FileHandle } from 'node:fs/promises';
import { type Context, HttpError } from 'plugin-server';
import { type OpenFile, versionOf } from './folder.js';

/**
 * Answers with a file, or the part of it that the request's Range asks for (RFC 9110 sections 13 and 14), and closes it.
 * Several ranges in one request get the whole file, as that section allows.
 */
export async function sendFile(ctx: Context, { handle, stat }: OpenFile, contentType: string): Promise<void> {
  let streaming = false;
  try {
    const size = Number(stat.size);
    if (!startAnswer(ctx, `"${versionOf(stat)}"`, stat.mtime)) return;
    const range = requestedRange(ctx, size);
    ctx.set('Accept-Ranges', 'bytes');
    if (range) {
      ctx.status = 206;
      ctx.set('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
    }
    const { start, end } = range ?? { start: 0, end: size - 1 };
    ctx.type = contentType;
    if (size === 0) {
      ctx.body = '';
    } else if (ctx.method !== 'HEAD') {
      ctx.body = readRange(ctx, handle, start, end);
      streaming = true;
    }
    ctx.length = end - start + 1;
  } finally {
    if (!streaming) await handle.close();
  }
}

/**
 * Sets the validators of what is about to be answered and checks the request's conditions against them (RFC 9110
 * section 13.2.2). False when the answer is complete without a body.
 */
export function startAnswer(ctx: Context, etag: string, modified: Date): boolean {
  const seconds = Math.floor(modified.getTime() / 1000) * 1000;
  const match = ctx.get('If-Match');
  const unmodifiedSince = Date.parse(ctx.get('If-Unmodified-Since'));
  if (match ? !lists(match, etag) : seconds > unmodifiedSince) {
    throw new HttpError(412, 'precondition_failed', 'The file is not the version that the request is for.');
  }
  ctx.status = 200;
  ctx.set('ETag', etag);
  ctx.lastModified = modified;
  if (ctx.fresh) ctx.status = 304;
  return ctx.status === 200;
}

/** The part that the request asks for, or undefined for the whole: several parts, other units and nonsense get that. */
function requestedRange(ctx: Context, size: number): { start: number; end: number } | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(ctx.get('Range').replaceAll(' ', '')) ?? [];
  if (first + last === '' || !isRangeFresh(ctx)) return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < start) return undefined;
  if (start > end) {
    throw new HttpError(
      416,
      'range_not_satisfiable',
      `The file has ${size} bytes, none of them in that range.`,
      {
        headers: { 'Content-Range': `bytes */${size}` },
      },
    );
  }
  return { start, end };
}

/** Whether the part is of the version that the client already holds the rest of. */
function isRangeFresh(ctx: Context): boolean {
  const condition = ctx.get('If-Range');
  return (
    condition === '' ||
    condition === ctx.response.get('ETag') ||
    condition === ctx.response.get('Last-Modified')
  );
}

/** Whether an If-Match header names the (strong) entity tag. */
function lists(header: string, etag: string): boolean {
  return header === '*' || header.split(',').some((tag) => tag.trim() === etag);
}

function readRange(ctx: Context, handle: FileHandle, start: number, end: number) {
  const stream = handle.createReadStream({ start, end });
  // A file cut short meanwhile cannot fill the announced length: end the connection rather than let the client wait.
  stream.once('end', () => {
    if (stream.bytesRead < end - start + 1) ctx.res.destroy();
  });
  return stream;
}
