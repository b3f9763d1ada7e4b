import Fastify from 'fastify';
import { allowed } from './key.mjs';

const app = Fastify({ logger: process.env.LOG !== 'off' });

app.addHook('onRequest', async (request, reply) => {
  if (!allowed(request.headers.authorization)) return reply.code(401).send({ error: 'a key is needed' });
});
app.get('/echo0/ping', async () => ({ ok: true }));
// Each plugin a folder of its own, as plugin-server has them, or all as functions of this module.
if (process.env.PLUGINS) {
  const { default: autoload } = await import('@fastify/autoload');
  app.register(autoload, { dir: process.env.PLUGINS });
}
const functions = process.env.PLUGINS ? 0 : Number(process.env.ECHO_PLUGINS ?? 1);
for (let i = 0; i < functions; i++) {
  app.register(
    async (plugin) => {
      for (let j = 0; j < 10; j++) {
        plugin.post(`/r${j}`, async (request) => ({ ok: true, n: request.body.n }));
      }
    },
    { prefix: `/echo${i}` },
  );
}

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
