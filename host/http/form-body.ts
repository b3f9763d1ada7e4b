import { Readable } from 'node:stream';
import type Koa from 'koa';
import { requireUtf8 } from './percent-encoding.js';

const TYPE = 'application/x-www-form-urlencoded';

let parser: Promise<Koa.Middleware> | undefined;

/**
 * The members of an application/x-www-form-urlencoded text, nested by `a[b]=1` and `a.b=1`: koa-bodyparser's. It is given
 * a text that has been received and judged, since by itself it turns bytes that are not UTF-8 into other characters.
 */
export async function parseForm(text: string): Promise<object> {
  requireUtf8(text);
  parser ??= loadParser();
  const ctx = {
    req: Object.assign(Readable.from([Buffer.from(text)]), { headers: { 'content-type': TYPE } }),
    request: { is: () => TYPE, body: undefined as object | undefined },
  };
  await (await parser)(ctx as unknown as Koa.Context, async () => {});
  return ctx.request.body!;
}

/** Loaded with the first form: with its dependencies it takes 4 MB, and many servers receive no forms. */
async function loadParser(): Promise<Koa.Middleware> {
  const { default: bodyParser } = await import('koa-bodyparser');
  // The limit has been applied while the text was received.
  return bodyParser({ enableTypes: ['form'], formLimit: `${Number.MAX_SAFE_INTEGER}b` });
}
