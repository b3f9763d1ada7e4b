import { basename, extname } from 'node:path';
import type { Context } from 'koa';
import type { Logger } from 'pino';
import { fileError } from './file-errors.js';
import { sendOpenFile } from './send-open-file.js';
import { ServedFolder } from './served-folder.js';
import { isServable } from './served-name.js';

export interface SendFileOptions {
  /** The Content-Type; by default, it follows from the file's extension. */
  readonly type?: string;
  /** Seconds for which clients may use the file without asking again; 0, the default, lets them ask each time. */
  readonly maxAge?: number;
  /** Sends it as an attachment, to be saved under this name; `true` for the file's own name. */
  readonly download?: string | true;
}

/**
 * Responds with the file at a path below `root`, an absolute folder. Resolves when the response is set on `ctx`, not when it is
 * sent. Rejects with a 404 `not_found` for a path that does not exist, is a folder or a dot file, or leads outside through
 * links.
 */
export async function sendFile(
  ctx: Context,
  root: string,
  path: string,
  options: SendFileOptions,
  log: Logger,
): Promise<void> {
  const names = path.split('/');
  if (names[0] === '') names.shift();
  const file = names.every(isServable) ? await new ServedFolder(root, log).find(names) : undefined;
  if (file?.kind !== 'file') throw fileError('not_found');
  const { type, maxAge = 0, download } = options;
  if (download !== undefined) ctx.attachment(download === true ? basename(path) : download);
  if (!ctx.res.hasHeader('Cache-Control'))
    ctx.set('Cache-Control', maxAge > 0 ? `max-age=${maxAge}` : 'no-cache');
  await sendOpenFile(ctx, file, type ?? extname(path));
}
