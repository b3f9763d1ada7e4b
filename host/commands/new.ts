import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { readConfiguration } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { kitEntry, packageFolder, version } from '../package-layout.js';
import { discoverPlugins } from '../prepare/discovery.js';
import { type IniFile, readerOf } from '../prepare/ini-file.js';
import { RESERVED_PATHS } from '../prepare/paths.js';
import { readSettings, type Settings } from '../prepare/settings.js';

/** Writes a plugin, its test, and what type-checks it; true when it has. */
export async function scaffold(name: string, ini: IniFile): Promise<boolean> {
  const configuration = readConfiguration(ini.path, readerOf(ini));
  const { settings, isSound } = readSettings(configuration);
  if (!isSound) {
    process.stderr.write(formatProblems('nothing written', configuration));
    return false;
  }
  const folder = join(settings.pluginsFolder, name);
  const fault = faultOf(name, folder, settings);
  if (fault !== undefined) {
    process.stderr.write(`plugin-server: nothing written: ${fault}\n`);
    return false;
  }
  mkdirSync(join(folder, 'test'), { recursive: true });
  for (const [file, text] of Object.entries(filesOf(name, realpathSync(folder))))
    writeFileSync(join(folder, file), text);
  process.stdout.write(nextSteps(name, relative('.', folder), settings));
  return true;
}

function faultOf(name: string, folder: string, { pluginsFolder }: Settings): string | undefined {
  if (!/^[a-z0-9][a-z0-9_.-]*$/.test(name)) {
    return `"${name}" is not a valid plugin name; use lowercase letters, digits, ".", "_" and "-", and begin with a letter or digit`;
  }
  if (RESERVED_PATHS.includes(name))
    return `the path /${name} is reserved by the server; choose another name`;
  if (existsSync(folder)) return `${relative('.', folder)} already exists; choose another name, or remove it`;
  const same = discoverPlugins(pluginsFolder).packages.find((plugin) => plugin.name.toLowerCase() === name);
  if (same === undefined) return undefined;
  return same.bundled
    ? `plugin-server already includes a plugin "${name}"; choose another name`
    : `a plugin "${name}" already exists; choose another name`;
}

function filesOf(name: string, folder: string): Record<string, string> {
  const isInstalled = isResolvedFrom(folder);
  return {
    'index.ts': indexFile(name),
    [`test/${name}.test.js`]: testFile(
      name,
      isInstalled ? 'plugin-server/testing' : relative(join(folder, 'test'), kitEntry('./testing').module),
    ),
    'package.json': json({
      name,
      version: '0.1.0',
      private: true,
      type: 'module',
      main: 'index.ts',
      engines: { 'plugin-server': `^${version}` },
      scripts: { test: 'node --test' },
    }),
    'tsconfig.json': json(tsconfig(folder, isInstalled)),
  };
}

/** Whether `plugin-server` is installed where a plugin in this folder finds it by name. */
function isResolvedFrom(folder: string): boolean {
  try {
    const found = createRequire(join(folder, 'index.js')).resolve('plugin-server/package.json');
    return realpathSync(dirname(found)) === realpathSync(packageFolder);
  } catch {
    return false;
  }
}

function indexFile(name: string): string {
  return `import { definePlugin, route, z } from 'plugin-server';

export default definePlugin({
  // The plugin's parameters in the INI file: ${name}=greeting=Good day
  config: z.object({ greeting: z.string().default('Hello') }),

  setup({ config, router, storage }) {
    // On disk, and the same in all workers and after a reload. A variable here would be neither.
    const visits = storage<number>('visits');

    const greet = route(
      {
        summary: 'Greets a visitor and counts the visits',
        params: z.object({ name: z.string().max(50) }),
        response: z.object({ message: z.string(), visits: z.number() }),
      },
      async ({ params }) => {
        const count = await visits.update(params.name, (before = 0) => before + 1);
        return { message: \`\${config.greeting}, \${params.name}\`, visits: count! };
      },
    );

    // GET /${name}/world
    router.get('/:name', greet);
  },
});
`;
}

function testFile(name: string, kit: string): string {
  return `import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startPlugin } from '${kit}';

let server;

before(async () => {
  server = await startPlugin(new URL('..', import.meta.url), {
    parameters: { greeting: 'Hi' },
    workers: 2,
  });
});

after(() => server.close());

test('greets by name', async () => {
  assert.deepEqual(await visit('world'), { message: 'Hi, world', visits: 1 });
});

test('counts all visits, in two workers and over a reload', async () => {
  await Promise.all(Array.from({ length: 10 }, () => visit('Ada')));
  await server.reload();
  assert.equal((await visit('Ada')).visits, 11);
});

async function visit(visitor) {
  // A connection for each request, so that both workers get some.
  const response = await fetch(\`\${server.url}/${name}/\${visitor}\`, { headers: { Connection: 'close' } });
  assert.equal(response.status, 200);
  return response.json();
}
`;
}

function tsconfig(folder: string, isInstalled: boolean): object {
  const compilerOptions = {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  };
  // \`plugin-server\` is not installed here: this is where it lies.
  const found = isInstalled
    ? {}
    : {
        paths: { 'plugin-server': [relative(folder, kitEntry('.').types)] },
        typeRoots: [relative(folder, typesFolder())],
      };
  return { compilerOptions: { ...compilerOptions, ...found }, include: ['**/*.ts'] };
}

function typesFolder(): string {
  return dirname(dirname(createRequire(import.meta.url).resolve('@types/node/package.json')));
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function nextSteps(name: string, folder: string, settings: Settings): string {
  const { addresses, apiKeys } = settings;
  const { address } = addresses[0]!;
  const free =
    'port' in address && address.port === 0
      ? '\n                PORT is in the log; it changes with each start'
      : '';
  const key = apiKeys.length === 0 ? '' : " -H 'Authorization: Bearer KEY'";
  return `Wrote ${folder}:
  index.ts                the plugin
  test/${name}.test.js${' '.repeat(Math.max(2, 11 - name.length))}its test
  package.json            its name and version
  tsconfig.json           for editors and the type checker

Try it:         plugin-server start --watch
                curl${key} ${target(settings)}/${name}/world${free}
Test it:        npm test --prefix ${folder}
Type-check it:  npx -p typescript tsc -p ${folder}
`;
}

/** What curl is given to reach the server. */
function target({ tls, addresses }: Settings): string {
  const { address } = addresses[0]!;
  const scheme = tls === undefined ? 'http' : 'https';
  if ('path' in address) return `--unix-socket ${address.path} ${scheme}://localhost`;
  const host = ['0.0.0.0', '::'].includes(address.host) ? '127.0.0.1' : address.host;
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port === 0 ? 'PORT' : address.port}`;
}
