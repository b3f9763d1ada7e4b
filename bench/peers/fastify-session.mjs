import cookie from '@fastify/cookie';
import session from '@fastify/session';
import Fastify from 'fastify';
import { allowed } from './key.mjs';

const app = Fastify();
app.addHook('onRequest', async (request, reply) => {
  if (!allowed(request.headers.authorization)) return reply.code(401).send({ error: 'a key is needed' });
});
app.register(cookie);
app.register(session, {
  secret: 'a secret of at least thirty-two characters',
  saveUninitialized: false,
  rolling: false,
  cookie: { secure: false, maxAge: 86_400_000 },
});

app.post('/sessman/new', async (request, reply) => {
  request.session.userid = request.query.userid;
  request.session.data = request.body.data;
  return answer(request, reply);
});
app.get('/sessman/get', async (request, reply) => answer(request, reply));
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });

function answer(request, reply) {
  const { userid, data } = request.session;
  if (userid !== undefined) return { userid, data };
  return reply.code(404).send({ error: 'no such session' });
}
