import cookie from '@fastify/cookie';
import session from '@fastify/session';
import Fastify, { type FastifyRequest } from 'fastify';
import { SessmanStore } from '../../../../plugins/sessman/adapters/fastify.js';
import { describeSessionMiddleware, type SessionHandle } from '../../../contracts/session-middleware.js';

describeSessionMiddleware('@fastify/session', async (options, act, maxAge) => {
  const store = new SessmanStore(options);
  const app = Fastify();
  await app.register(cookie);
  await app.register(session, {
    store,
    secret: 'a secret of thirty-two characters',
    saveUninitialized: false,
    cookie: { secure: false, ...(maxAge !== undefined && { maxAge }) },
  });
  app.setErrorHandler((error: { code: string; message: string }, _request, reply) => {
    reply.code(500).send({ code: error.code, message: error.message });
  });
  app.get('/*', (request) => act(request.url, handleOf(request)));
  return {
    url: await app.listen({ port: 0, host: '127.0.0.1' }),
    store,
    async close() {
      app.server.closeAllConnections();
      await app.close();
      store.close();
    },
  };
});

function handleOf(request: FastifyRequest): SessionHandle {
  return {
    get data() {
      return request.session;
    },
    get id() {
      return request.session.sessionId;
    },
    async regenerate(data) {
      await request.session.regenerate();
      Object.assign(request.session, data);
    },
    destroy: () => request.session.destroy(),
    save: () => request.session.save(),
  };
}
