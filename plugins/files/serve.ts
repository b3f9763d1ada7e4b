import { extname } from 'node:path';
import { contentType } from 'mime-types';
import {
  type Context,
  fileError,
  type OpenFile,
  type ServedFolder,
  sendOpenFile,
  startAnswer,
} from 'plugin-server';
import { maximumText } from './includes.js';
import type { Pages } from './pages.js';
import { parseRequestPath } from './request-path.js';

export interface ServeOptions {
  /** The request path that the folder is served under: `/html`. */
  readonly path: string;
  /** Names of index files. The first that exists is served for its folder. */
  readonly index: readonly string[];
  /** Renders Markdown. Without it, Markdown is served as text. */
  readonly pages: Pages | undefined;
  readonly maxAge: number;
  /** Replaces the Content-Security-Policy of every response. */
  readonly policy: string | undefined;
}

/** Koa middleware that responds to GET and HEAD with the file at the request's path. */
export function serve(folder: ServedFolder, options: ServeOptions): (ctx: Context) => Promise<void> {
  return async (ctx) => {
    const path = parseRequestPath(ctx.path.slice(options.path.length));
    const found = path && (await folder.find(path.names));
    if (found?.kind === 'file') {
      if (!path?.slash) return answer(ctx, path?.names ?? [], found);
      await found.handle.close();
    } else if (found && path) {
      const index = await findIndex(path.names);
      if (index && path.slash) return answer(ctx, index.names, index.file);
      await index?.file.handle.close();
      if (index) return redirectInto(ctx);
    }
    throw fileError('not_found');
  };

  async function findIndex(names: readonly string[]) {
    for (const name of options.index) {
      const file = await folder.find([...names, name]);
      if (file?.kind === 'file') return { names: [...names, name], file };
    }
    return undefined;
  }

  async function answer(ctx: Context, names: readonly string[], file: OpenFile): Promise<void> {
    ctx.set({
      'Cache-Control': options.maxAge > 0 ? `max-age=${options.maxAge}` : 'no-cache',
      'X-Content-Type-Options': 'nosniff',
      'X-Frame-Options': 'SAMEORIGIN',
      'Content-Security-Policy': options.policy ?? "frame-ancestors 'self'",
    });
    const type = contentType(extname(file.path)) || 'application/octet-stream';
    if (options.pages && type.startsWith('text/markdown') && file.stat.size <= maximumText) {
      return answerPage(ctx, options.pages, names, file, type);
    }
    return sendOpenFile(ctx, file, type);
  }

  async function answerPage(
    ctx: Context,
    pages: Pages,
    names: readonly string[],
    file: OpenFile,
    type: string,
  ): Promise<void> {
    const page = await pages.page(names, file).catch(async (error) => {
      await file.handle.close();
      throw error;
    });
    // A text that could not be rendered in time is served as text.
    if (!page) return sendOpenFile(ctx, file, type);
    await file.handle.close();
    if (options.policy === undefined) ctx.set('Content-Security-Policy', page.policy);
    if (!startAnswer(ctx, page)) return;
    ctx.type = 'text/html; charset=utf-8';
    ctx.body = page.html;
  }
}

/** Relative, so that it works behind a proxy that serves this under another path, and never leads to another site. */
function redirectInto(ctx: Context): void {
  const name = ctx.path.slice(ctx.path.lastIndexOf('/') + 1);
  ctx.redirect(`./${name}/${ctx.search}`);
  ctx.status = 301;
}
