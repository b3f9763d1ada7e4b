import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import session from 'express-session';
import { SessmanStore } from '../../../../plugins/sessman/adapters/express.js';
import { describeSessionMiddleware, type SessionHandle } from '../../../contracts/session-middleware.js';

describeSessionMiddleware('express-session', async (options, act, maxAge) => {
  const store = new SessmanStore(options);
  const app = express();
  // Else Express prints the errors that it answers.
  app.set('env', 'test');
  const cookie = maxAge === undefined ? {} : { maxAge };
  app.use(session({ store, secret: 's', resave: false, saveUninitialized: false, cookie }));
  app.use(async (request: Request, response: Response) => {
    response.json(await act(request.url, handleOf(request)));
  });
  app.use(
    (
      error: { code: string; message: string },
      _request: Request,
      response: Response,
      _next: NextFunction,
    ) => {
      response.status(500).json({ code: error.code, message: error.message });
    },
  );
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

function handleOf(request: Request): SessionHandle {
  const call = (work: (done: (error: unknown) => void) => void) =>
    new Promise<void>((resolve, reject) => work((error) => (error ? reject(error) : resolve())));
  return {
    get data() {
      return request.session;
    },
    get id() {
      return request.sessionID;
    },
    async regenerate(data) {
      await call((done) => request.session.regenerate(done));
      Object.assign(request.session, data);
    },
    destroy: () => call((done) => request.session.destroy(done)),
    save: () => call((done) => request.session.save(done)),
  };
}
