import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type Context, etagOf, once, type Router } from 'plugin-server';
import { adminError } from './errors.js';

/** Scripts, styles, images and connections from this server only, nothing inline, and no frame around the page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

interface Asset {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly gzipped: Buffer;
}

const folder = new URL('./page/', import.meta.url);
const zip = promisify(gzip);

/** The page's files, which `npm run build` makes from page/. Each is read and compressed once. */
export function addPage(router: Router): void {
  const page = once(() => read('index.html', 'text/html; charset=utf-8'));
  router.get('/', async (ctx) => {
    // The page names its files relative to itself, so that it works behind a proxy under any path.
    if (!ctx.path.endsWith('/')) {
      ctx.redirect(`${ctx.path.slice(ctx.path.lastIndexOf('/') + 1)}/`);
      ctx.status = 308;
      return;
    }
    ctx.set('Content-Security-Policy', POLICY);
    ctx.set('Referrer-Policy', 'no-referrer');
    send(ctx, await page());
  });
  for (const [name, type] of [
    ['page.js', 'text/javascript; charset=utf-8'],
    ['page.css', 'text/css; charset=utf-8'],
    ['icon.svg', 'image/svg+xml'],
  ] as const) {
    const asset = once(() => read(name, type));
    router.get(`/${name}`, async (ctx) => send(ctx, await asset()));
  }
}

function send(ctx: Context, { type, etag, plain, gzipped }: Asset): void {
  ctx.type = type;
  ctx.set('Cache-Control', 'no-cache');
  ctx.set('ETag', etag);
  ctx.vary('Accept-Encoding');
  ctx.status = 200;
  if (ctx.fresh) {
    ctx.status = 304;
  } else if (ctx.acceptsEncodings('gzip', 'identity') === 'gzip') {
    ctx.set('Content-Encoding', 'gzip');
    ctx.body = gzipped;
  } else ctx.body = plain;
}

async function read(name: string, type: string): Promise<Asset> {
  let plain: Buffer;
  try {
    plain = await readFile(new URL(name, folder));
  } catch (error) {
    throw adminError('page_not_built', { cause: error });
  }
  return { type, etag: etagOf(plain), plain, gzipped: await zip(plain, { level: 9 }) };
}
