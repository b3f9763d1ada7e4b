import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import Koa, { type Context } from 'koa';
import session from 'koa-session';
import { SessmanStore } from '../../../../plugins/sessman/adapters/koa.js';
import { describeSessionMiddleware, type SessionHandle } from '../../../contracts/session-middleware.js';

describeSessionMiddleware('koa-session', async (options, act, maxAge) => {
  const store = new SessmanStore(options);
  const app = new Koa();
  app.keys = ['k'];
  app.silent = true;
  app.use(async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      ctx.status = 500;
      ctx.body = { code: (error as { code: string }).code, message: (error as Error).message };
    }
  });
  app.use(session({ store, ...(maxAge !== undefined && { maxAge }) }, app));
  app.use(async (ctx) => {
    ctx.body = await act(ctx.url, handleOf(ctx));
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    store,
    async close() {
      server.closeAllConnections();
      server.close();
      store.close();
    },
  };
});

function handleOf(ctx: Context): SessionHandle {
  return {
    get data() {
      return ctx.session;
    },
    get id() {
      return ctx.session.externalKey;
    },
    async regenerate(data) {
      ctx.session = data;
      await ctx.session.regenerate();
    },
    async destroy() {
      ctx.session = null;
    },
    save: () => ctx.session.save(),
  };
}
