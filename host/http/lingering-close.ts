import type Koa from 'koa';

/** Milliseconds that the rest of a refused body is read and thrown away. */
const LINGER = 5000;

/**
 * Answers a request whose body will not be read, and closes its connection. Closing it at once would make the kernel
 * answer what still comes in with a reset, which can destroy the answer before the client has read it; so the
 * connection ends when the body does (RFC 9112 section 9.6).
 */
export function endUnread(ctx: Koa.Context, text: string): void {
  const { req, res } = ctx;
  ctx.respond = false;
  ctx.set('Connection', 'close');
  ctx.set('Content-Length', String(Buffer.byteLength(text)));
  res.write(text);
  const end = () => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, LINGER);
  req.once('end', end);
  res.once('close', end);
  req.unpipe();
  req.resume();
}
