import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { key } from './peers/key.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

export const cli = cliOf(root);

/** @param {string} packageFolder of plugin-server, or of a copy */
export function cliOf(packageFolder) {
  return join(packageFolder, 'dist', 'bundle', 'cli.js');
}

/** They are on unless a site says otherwise; other servers have nothing of the kind. */
const bundledPlugins = readdirSync(new URL('../plugins', import.meta.url));

/** The routes that every server of the host rows has: `POST /echo0/r0` to `/echo0/r9`. Some have `GET /echo0/ping`, too. */
export const routesPerPlugin = 10;
const routeNumbers = Array.from({ length: routesPerPlugin }, (_, i) => i);

/**
 * Writes what a user of plugin-server would: an INI file with a key and an access log, and a plugins folder, beside an
 * installed plugin-server.
 *
 * @param {string} folder
 * @param {object} options
 * @param {number} options.port
 * @param {number} options.workers
 * @param {number} options.echoPlugins how many plugins of ten routes to write
 * @param {object} [options.sessman] sessman's settings; without them sessman is not there
 * @param {boolean} [options.shipped] whether the plugins that come with the server run, with the settings they come with
 * @param {boolean} [options.checked] whether the routes check their bodies by `route()`
 * @param {boolean} [options.proxied] whether X-Forwarded-For is believed
 * @param {number} [options.rate] the requests that each client may send in a minute
 * @param {string} [options.packageFolder] the plugin-server that is installed
 * @returns {string} the INI file
 */
export function writeSite(
  folder,
  {
    port,
    workers,
    echoPlugins,
    sessman,
    shipped = false,
    checked = false,
    proxied = false,
    rate = 0,
    packageFolder = root,
  },
) {
  const plugins = join(folder, 'plugins');
  mkdirSync(plugins, { recursive: true });
  install(folder, packageFolder);
  for (let i = 0; i < echoPlugins; i++)
    writeEchoPlugin(plugins, `echo${i}`, { checked, answersGet: i === 0 });

  const lines = [
    ...['[network]', `port=int:${port}`, `workers=int:${workers}`, `proxy=bool:${proxied}`],
    ...['[limits]', `rate=int:${rate}`],
    ...['[paths]', `plugins=${plugins}`, 'data=data'],
    ...['[auth]', `apikey=${key}`],
    ...['[log]', 'level=info', 'file=server.log'],
  ];
  lines.push('[plugin_parms]');
  for (const name of shipped ? [] : bundledPlugins) {
    if (name !== 'sessman' || sessman === undefined) lines.push(`${name}=enabled=bool:false`);
  }
  if (sessman !== undefined) {
    writeFileSync(join(folder, 'sessman.json'), JSON.stringify(sessman));
    lines.push('sessman=json=sessman.json');
  }
  const ini = join(folder, 'plugin-server.ini');
  writeFileSync(ini, `${lines.join('\n')}\n`);
  return ini;
}

/** What `npm install plugin-server` leaves in a folder, of that which plugins import. */
function install(folder, packageFolder) {
  const modules = join(folder, 'node_modules');
  if (existsSync(modules)) return;
  mkdirSync(modules);
  symlinkSync(packageFolder, join(modules, 'plugin-server'));
  symlinkSync(join(root, 'node_modules', 'zod'), join(modules, 'zod'));
}

function writeEchoPlugin(plugins, name, { checked, answersGet }) {
  const handler = checked
    ? 'route({ body }, ({ body: { n } }) => ({ ok: true, n }))'
    : '(ctx) => {\n      ctx.body = { ok: true, n: ctx.request.body.n };\n    }';
  const routes = routeNumbers.map((i) => `    router.post('/r${i}', ${handler});`);
  if (answersGet) {
    routes.push("    router.get('/ping', (ctx) => {\n      ctx.body = { ok: true };\n    });");
  }
  writeModule(
    join(plugins, name),
    `${checked ? checkedBody : "import { definePlugin } from 'plugin-server';\n"}
export default definePlugin({
  setup({ router }) {
${routes.join('\n')}
  },
});
`,
  );
}

const checkedBody = `import { definePlugin, route, z } from 'plugin-server';

const body = z.object({
  n: z.int(),
  name: z.string().max(50),
  tags: z.array(z.string()),
  active: z.boolean(),
  note: z.string().max(200),
});
`;

/**
 * Writes the same plugins for fastify, as folders that `@fastify/autoload` finds.
 *
 * @param {string} folder
 * @param {number} count
 * @returns {string} the folder of plugins
 */
export function writeFastifyPlugins(folder, count) {
  const plugins = join(folder, 'plugins');
  const routes = routeNumbers.map(
    (i) => `  plugin.post('/r${i}', async (request) => ({ ok: true, n: request.body.n }));`,
  );
  for (let i = 0; i < count; i++) {
    writeModule(
      join(plugins, `echo${i}`),
      `export default async function echo(plugin) {
${routes.join('\n')}
}
`,
    );
  }
  return plugins;
}

function writeModule(folder, text) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.js'), text);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
}
