import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cli, cliOf, writeFastifyPlugins, writeSite } from './site.mjs';
import { untracedPackage } from './untraced.mjs';

/**
 * The servers, by the name the table shows. `launch` is told where to listen, a folder of the server's own, and, in the
 * rows that have one, the database; it gives what node runs and the environment. One with `calls` is no server: see
 * calls.mjs. `preload` is how many sessions are in
 * the store before the first round.
 */
export const contestants = new Map(
  Object.entries({
    'node:http': peer('node-http.mjs'),
    'node:http, 2 processes': peer('node-http-cluster.mjs', { WORKERS: '2' }),
    'node:http, 2 on one socket': peer('node-http-shared.mjs', { WORKERS: '2' }),
    'node:http and a bare parent': peer('node-http-shared.mjs', { WORKERS: '1' }),
    fastify: peer('fastify.mjs'),
    'fastify without log': peer('fastify.mjs', { LOG: 'off' }),
    koa: peer('koa.mjs'),
    express: peer('express.mjs'),
    'plugin-server': ours(),
    'plugin-server with route()': ours({ checked: true }),
    'plugin-server without hooks for traces': ours({ untraced: true }),
    'plugin-server, 1000 plugins': ours({ echoPlugins: 1000 }),
    'plugin-server, 2 workers': ours({ workers: 2 }),
    'plugin-server, 2 workers, proxied': ours({ workers: 2, proxied: true }),
    'plugin-server, 2 workers, proxied, rate limit': ours({ workers: 2, proxied: true, rate: 6000 }),
    'plugin-server as shipped': ours({ shipped: true }),
    'fastify, 1000 functions': peer('fastify.mjs', { ECHO_PLUGINS: '1000' }),
    'fastify, 1000 plugins': peer('fastify.mjs', (folder) => ({
      PLUGINS: writeFastifyPlugins(folder, 1000),
    })),

    'lmdb by hand': { calls: 'lmdb' },
    'storage of a plugin': { calls: 'storage' },

    'node:http + lmdb': peer('node-lmdb.mjs'),
    'node:http + lmdb, 1M sessions': { ...peer('node-lmdb.mjs'), preload: 1_000_000 },
    'node:http + SQLite': peer('node-sqlite.mjs'),
    'node:http + mongodb': peer('node-mongodb.mjs'),
    '@fastify/session': peer('fastify-session.mjs'),
    'koa-session': peer('koa-session.mjs'),
    'express-session + connect-mongo': peer('express-session-mongo.mjs'),
    sessman: ours({ echoPlugins: 0, sessman: {} }),
    'sessman, encrypted': ours({
      echoPlugins: 0,
      sessman: { encryption_key: Buffer.alloc(32, 1).toString('base64') },
    }),
    'sessman, 1M sessions': { ...ours({ echoPlugins: 0, sessman: {} }), preload: 1_000_000 },
    'sessman on MongoDB': ours({ echoPlugins: 0, sessman: {} }),
  }),
);

function peer(file, env = {}) {
  return {
    launch: ({ port, folder, databaseUrl = '' }) => ({
      args: [fileURLToPath(new URL(`peers/${file}`, import.meta.url))],
      env: {
        PORT: String(port),
        DATA: join(folder, 'data'),
        MONGO_URL: databaseUrl,
        NODE_ENV: 'production',
        ...(typeof env === 'function' ? env(folder) : env),
      },
    }),
  };
}

/** As a user starts it: the command line, an INI file and a plugins folder; supervisor, key, access log and metrics on. */
function ours({ echoPlugins = 1, workers = 1, sessman, untraced, ...site } = {}) {
  return {
    launch: ({ port, folder, databaseUrl }) => {
      const settings =
        sessman && (databaseUrl === undefined ? sessman : { ...sessman, server_url: databaseUrl });
      const packageFolder = untraced ? untracedPackage() : undefined;
      const ini = writeSite(folder, {
        port,
        workers,
        echoPlugins,
        sessman: settings,
        packageFolder,
        ...site,
      });
      const program = packageFolder === undefined ? cli : cliOf(packageFolder);
      return { args: [program, 'start', '--ini-file', ini], env: { NODE_ENV: 'production' } };
    },
  };
}
