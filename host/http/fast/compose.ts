import type Koa from 'koa';
import composeKoa from 'koa-compose';

/** Runs to the end of the chain; there is nothing behind it. */
export type Chain = (ctx: Koa.Context) => unknown;

const nothing = async () => {};

/** As koa-compose does it; of a single middleware nothing is left but the call. */
export function compose(middleware: readonly Koa.Middleware[]): Chain {
  const [only] = middleware;
  if (middleware.length === 1 && only !== undefined) return (ctx) => only(ctx as never, nothing);
  const chain = composeKoa([...middleware]);
  return (ctx) => chain(ctx as never, nothing);
}
