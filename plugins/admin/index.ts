import { definePlugin } from 'plugin-server';
import { addPage } from './assets.js';
import { addSessions } from './sessions.js';
import { addStream } from './stream.js';

/**
 * The admin page: docs/admin.md. The page itself is open and holds no data; its API requires the global key, whatever
 * keys other plugins require, and is closed while no global key is set.
 */
export default definePlugin({
  name: 'admin',
  auth: 'own',
  operators: true,
  after: ['sessman?'],
  setup({ audit, router, server, draining, plugin }) {
    const sessions = plugin('sessman');
    addPage(router);
    router.use('/api', server.requireGlobalKey);
    addStream(router, { server, draining, hasSessions: sessions !== undefined });
    addSessions(router, sessions, audit);
    router.post('/api/reload', async (ctx) => {
      const result = await server.reload(ctx);
      ctx.status = result.success ? 200 : 422;
      ctx.body = result;
    });
  },
});
