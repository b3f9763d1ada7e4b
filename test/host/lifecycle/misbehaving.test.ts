import { rm } from 'node:fs/promises';
import { relative } from 'node:path';
import { expect } from 'chai';
import { ConfigError, type Problem } from '../../../config/index.js';
import { makeFolder, startServer, type TestServer, type TestServerOptions } from '../../support/server.js';

/** A plugin that behaves, to see that the rest goes on. */
const good = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      ctx.body = { fine: true };
    });
  },
});
`;

interface Misbehaviour {
  readonly title: string;
  /** Of the plugin `bad`, or of whatever else is in the plugins folder. */
  readonly files: Readonly<Record<string, string>>;
  readonly ini?: string;
  /** The plugin that the message names, when it is not `bad`. */
  readonly plugin?: string;
  readonly message: RegExp;
  /** File and line that the problem is at; of plugin-server.ini when the fault is not in the plugin's code. */
  readonly at: string;
  /** The server cannot start without it, whatever `required` says. */
  readonly fatal?: true;
}

const deadlines = { load: 2000, check: 500, setup: 500, ready: 500 };
const kit = "import { definePlugin, z } from 'plugin-server';\n";

const misbehaviours: readonly Misbehaviour[] = [
  {
    title: 'throws in setup',
    files: {
      'plugins/bad/index.ts': `${kit}import { connect } from './database.js';\n\nexport default definePlugin({\n  setup() {\n    connect();\n  },\n});\n`,
      'plugins/bad/database.ts': `export function connect(): never {\n  throw new Error('no database at db.example');\n}\n`,
    },
    message: /plugin "bad" failed in its setup: no database at db\.example/,
    at: 'plugins/bad/database.ts:2',
  },
  {
    title: 'throws in setup, being JavaScript',
    files: {
      'plugins/bad.js': `${kit}\nexport default definePlugin({\n  setup() {\n    null.x;\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: Cannot read properties of null/,
    at: 'plugins/bad.js:5',
  },
  {
    title: 'throws something that is no Error',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup() {\n    throw 'out of luck';\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: out of luck/,
    at: 'plugin-server.ini:2',
  },
  {
    title: 'rejects in setup',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  async setup() {\n    await null;\n    throw new Error('later');\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: later/,
    at: 'plugins/bad/index.ts:6',
  },
  {
    title: 'hangs in setup',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup: () => new Promise<void>(() => {}),\n});\n`,
    },
    message: /plugin "bad" did not finish its setup within 0\.5 s/,
    at: 'plugin-server.ini:2',
  },
  {
    title: 'throws in its onReady hook',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ onReady }) {\n    onReady(() => {\n      throw new Error('not today');\n    });\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its onReady hook: not today/,
    at: 'plugins/bad/index.ts:6',
  },
  {
    title: 'hangs in its onReady hook',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ onReady }) {\n    onReady(() => new Promise<void>(() => {}));\n  },\n});\n`,
    },
    message: /plugin "bad" did not finish its onReady hook within 0\.5 s/,
    at: 'plugin-server.ini:2',
  },
  {
    title: 'reports a setting in its check',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  check({ report }) {\n    report(['plugin_parms', 'bad', 'required'], 'this is not to my taste', 'write something else');\n  },\n  setup() {},\n});\n`,
    },
    message: /^this is not to my taste$/,
    at: 'plugin-server.ini:2',
    plugin: 'plugin-server.ini',
  },
  {
    title: 'throws in its check',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  async check() {\n    throw new Error('cannot look');\n  },\n  setup() {},\n});\n`,
    },
    message: /the check of plugin "bad" failed: cannot look/,
    at: 'plugins/bad/index.ts:5',
  },
  {
    title: 'hangs in its check',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  check: () => new Promise<void>(() => {}),\n  setup() {},\n});\n`,
    },
    message: /the check of plugin "bad" failed: it did not finish within 0\.5 s/,
    at: 'plugin-server.ini:2',
  },
  {
    title: 'has a syntax error',
    files: {
      'plugins/bad/index.ts': `${kit}\nconst broken = ;\nexport default definePlugin({ setup() {} });\n`,
    },
    message: /plugin "bad" cannot be loaded/,
    at: 'plugins/bad/index.ts:3',
  },
  {
    title: 'has a syntax error, being JavaScript',
    files: {
      'plugins/bad/index.js': `${kit}\nexport default definePlugin({\n  setup() { return return; },\n});\n`,
    },
    message: /plugin "bad" cannot be loaded/,
    at: 'plugins/bad/index.js:4',
  },
  {
    title: 'has a syntax error in a file that it imports',
    files: {
      'plugins/bad/index.js': `${kit}import './part.js';\nexport default definePlugin({ setup() {} });\n`,
      'plugins/bad/part.js': 'export const a = 1;\nexport const b = ;\n',
    },
    message: /plugin "bad" cannot be loaded/,
    at: 'plugins/bad/part.js:2',
  },
  {
    title: 'hangs while it is imported',
    files: {
      'plugins/bad/index.ts': `${kit}\nawait new Promise(() => {});\nexport default definePlugin({ setup() {} });\n`,
    },
    message: /plugin "bad" cannot be loaded: it did not finish within 2 s/,
    at: 'plugins/bad/index.ts:1',
  },
  {
    title: 'throws while it is imported',
    files: {
      'plugins/bad/index.ts': `${kit}\nthrow new Error('not even loaded');\nexport default definePlugin({ setup() {} });\n`,
    },
    message: /plugin "bad" cannot be loaded: not even loaded/,
    at: 'plugins/bad/index.ts:3',
  },
  {
    title: 'imports what is not there',
    files: {
      'plugins/bad/index.js': `${kit}import 'no-such-package';\nexport default definePlugin({ setup() {} });\n`,
    },
    message: /plugin "bad" cannot be loaded: .*no-such-package/,
    at: 'plugins/bad/index.js:2',
  },
  ...(
    [
      ['a constant', 'export const a = b + 1;', "import { a } from './a.js';", '"a"'],
      ['an exported list', 'const a = [b];\nexport { a };', "import { a } from './a.js';", '"a"'],
      ['an enum', 'export enum a { B = b }', "import { a } from './a.js';", '"a"'],
      ['a class', 'export class a { c = b; }', "import { a } from './a.js';", '"a"'],
      ['a re-export', 'export const c = b;', "import { c as a } from './a.js';", '"c"'],
      [
        'a member of a namespace',
        'export const a = b;',
        "import * as all from './a.js';\nconst { a } = all;",
        '"a"',
      ],
      ['a default export', 'export default { a: b };', "import a from './a.js';", 'the default export'],
      [
        'an odd name',
        'const x = b;\nexport { x as "odd name" };',
        'import { "odd name" as a } from \'./a.js\';',
        '"odd name"',
      ],
    ] as const
  ).map(([what, exporting, importing, name]) => ({
    title: `uses ${what} of a file before it has a value, in a circle of imports`,
    files: {
      'plugins/bad/index.ts': `${kit}import './a.js';\nexport default definePlugin({ setup() {} });\n`,
      'plugins/bad/a.ts': `import { b } from './b.js';\n${exporting}\n`,
      'plugins/bad/b.ts': `${importing}\n\nexport const b: number = 1 +\n  Number(a);\n`,
    },
    message: new RegExp(
      `plugin "bad" cannot be loaded: bad/b\\.ts uses ${name} of bad/a\\.ts before it has a value; the two files import`,
    ),
    at: `plugins/bad/b.ts:${importing.includes('\n') ? 2 : 4}`,
  })),
  {
    title: 'uses a constant of a file before it has a value, in a circle of imports, being JavaScript',
    files: {
      'plugins/bad/index.js': `${kit}import './a.js';\nexport default definePlugin({ setup() {} });\n`,
      'plugins/bad/a.js': "import { b } from './b.js';\nexport const a = b + 1;\n",
      'plugins/bad/b.js': "import { a } from './a.js';\nexport const b = 1 +\n  a;\n",
      'plugins/bad/package.json': '{"type":"module"}',
    },
    message: /plugin "bad" cannot be loaded: Cannot access 'a' before initialization/,
    at: 'plugins/bad/b.js:3',
  },
  {
    title: 'has no default export',
    files: { 'plugins/bad/index.ts': `${kit}\nexport const plugin = definePlugin({ setup() {} });\n` },
    message: /plugin "bad" has no default export made by definePlugin/,
    at: 'plugins/bad/index.ts:1',
  },
  {
    title: 'exports something else',
    files: { 'plugins/bad/index.ts': 'export default function setup() {}\n' },
    message: /plugin "bad" has no default export made by definePlugin/,
    at: 'plugins/bad/index.ts:1',
  },
  {
    title: 'comes after a plugin that is not there',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ after: ['godo'], setup() {} });\n`,
    },
    message: /plugin "bad" depends on "godo", which does not exist/,
    at: 'plugins/bad/index.ts:1',
  },
  {
    title: 'is for another version of plugin-server',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ setup() {} });\n`,
      'plugins/bad/package.json': '{\n  "name": "bad",\n  "engines": { "plugin-server": "^99" }\n}\n',
    },
    message: /plugin "bad" requires plugin-server \^99; this is \d/,
    at: 'plugins/bad/package.json:3',
  },
  {
    title: 'has a package.json that is no JSON',
    files: { 'plugins/bad/index.ts': good, 'plugins/bad/package.json': '{\n  "name": "bad",,\n}\n' },
    message: /the package\.json of plugin "bad" is not valid JSON/,
    at: 'plugins/bad/package.json:2',
    fatal: true,
  },
  {
    title: 'asks for a plugin that it does not come after',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ plugin }) {\n    plugin('good' as never);\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: plugin\("good"\) requires "good" in "after" of definePlugin/,
    at: 'plugins/bad/index.ts:5',
  },
  {
    title: 'mounts a path that another plugin has',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ mount }) {\n    mount('/good');\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: .*"?\/good"?.* plugin "good"/,
    at: 'plugins/bad/index.ts:5',
  },
  {
    title: "mounts one of the host's paths",
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ mount }) {\n    mount('metrics');\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup: .*\/metrics/,
    at: 'plugins/bad/index.ts:5',
  },
  {
    title: 'uses a wrong pattern of a route',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ router }) {\n    router.get('/:', () => {});\n  },\n});\n`,
    },
    message: /plugin "bad" failed in its setup/,
    at: 'plugins/bad/index.ts:5',
  },
  ...(
    [
      ["router.get('list', () => {});", 'list'],
      ["router.post(['/fine', 'list'], () => {});", 'list'],
      ["router.all(':id', () => {});", ':id'],
      ["router.use('inner', (ctx, next) => next());", 'inner'],
      ["router.get('named', 'inner', () => {});", 'inner'],
      ["router.del('a/b', () => {});", 'a/b'],
      ["mount('more').get('list', () => {});", 'list'],
      ["mountOpen('more').put('list', () => {});", 'list'],
    ] as const
  ).map(([statement, path]) => ({
    title: `has a route without a leading slash, ${statement}`,
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({\n  setup({ router, mount, mountOpen }) {\n    ${statement}\n  },\n});\n`,
    },
    message: new RegExp(`the route "${path}" does not begin with a slash; write "/${path}"`),
    at: 'plugins/bad/index.ts:5',
  })),
  {
    title: 'wants the path of another plugin',
    files: { 'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ setup() {} });\n` },
    ini: '[plugin_parms]\nbad=route_path=good\n',
    message: /plugins "bad" and "good" both use the path \/good/,
    at: 'plugin-server.ini:2',
    fatal: true,
  },
  {
    title: "wants a path of the host's",
    files: { 'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ setup() {} });\n` },
    ini: '[plugin_parms]\nbad=route_path=plugins/mine\n',
    message: /the path \/plugins\/mine of plugin "bad" is reserved by the server/,
    at: 'plugin-server.ini:2',
    fatal: true,
  },
  {
    title: 'has a name that is none',
    files: {
      'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ name: 'very bad', setup() {} });\n`,
    },
    message: /name of plugin "bad" is "very bad", not a name of letters, digits/,
    at: 'plugins/bad/index.ts:3',
  },
  {
    title: 'has the name of another plugin',
    files: { 'plugins/bad/index.ts': `${kit}\nexport default definePlugin({ name: 'good', setup() {} });\n` },
    plugin: 'good',
    message: /two plugins are named "good": bad and good/,
    at: 'plugins/good/index.ts:1',
    fatal: true,
  },
  {
    title: 'is an empty folder',
    files: { 'plugins/bad/README.md': 'nothing here' },
    message: /no plugin in bad\/: none of index\.ts, .* exists/,
    at: 'plugins/bad:1',
    fatal: true,
  },
];

describe('a plugin that', () => {
  for (const {
    title,
    files,
    ini = '[plugin_parms]\nbad=required=bool:true\n',
    plugin = 'bad',
    message,
    at,
    fatal,
  } of misbehaviours) {
    describe(title, () => {
      const options: TestServerOptions = {
        // No other plugin may meet the short deadlines.
        safe: true,
        ini: `${ini}[main]\nsafe=list:good bad\n`,
        files: { 'plugins/good/index.ts': good, ...files },
        // Nor what only takes long in a moment without processor time.
        deadlines: title.startsWith('hangs') ? deadlines : {},
      };

      it(`stops the start: the message names it and where it is`, async () => {
        const { problems, folder } = await failedStart(options);
        const problem = problems.find((candidate) => message.test(candidate.message));
        expect(problem, JSON.stringify(problems, null, 2)).not.to.equal(undefined);
        const { file, line } = problem!.position;
        expect(`${relative(folder, file)}:${line}`).to.equal(at);
        expect(`${problem!.message} ${file}`).to.contain(plugin);
        expect(problem!.message).not.to.contain('\n').and.not.to.contain(folder);
        expect(problem!.hint).to.be.a('string');
      });

      if (!fatal) {
        it('is left out when it is not required, and the rest is served', async () => {
          const server = await startServer({
            ...options,
            ini: options.ini?.replace('bool:true', 'bool:false') ?? '',
          });
          try {
            expect(await (await server.fetch('/good')).json()).to.deep.equal({ fine: true });
            const gone = await server.fetch('/bad/anything');
            expect(gone.status).to.equal(503);
            expect(await gone.json()).to.include({ code: 'plugin_failed' });
            const ready = await server.fetch('/readyz?verbose');
            expect(ready.status).to.equal(200);
            expect(await ready.text())
              .to.contain('"bad":"failed"')
              .and.not.to.contain(server.folder);
            expect(
              server.logs.some(({ level, msg }) => level === 'error' && message.test(msg)),
              server.logText(),
            ).to.equal(true);
          } finally {
            await server.close();
          }
        });
      }
    });
  }
});

/** What keeps the server from starting. */
async function failedStart(
  options: TestServerOptions,
): Promise<{ problems: readonly Problem[]; folder: string }> {
  const folder = await makeFolder();
  try {
    const server = await startServer({ ...options, folder });
    await server.close();
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems, folder };
    throw error;
  } finally {
    await rm(folder, { recursive: true });
  }
  throw new Error('the server started');
}

describe('plugins among each other', () => {
  const open: TestServer[] = [];
  const start = async (options: TestServerOptions) => {
    const server = await startServer(options);
    open.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });

  const waitingFor = (names: readonly string[], body = '') =>
    `${kit}export default definePlugin({ after: ${JSON.stringify(names)}, setup(context) { ${body} } });\n`;

  it('that wait for each other in a circle stop the start, and the circle is shown', async () => {
    const { problems } = await failedStart({
      files: {
        'plugins/a.ts': waitingFor(['b']),
        'plugins/b.ts': waitingFor(['c']),
        'plugins/c.ts': waitingFor(['a']),
      },
    });
    expect(problems.map(({ message }) => message)).to.deep.equal([
      'circular dependency between plugins: a -> b -> c -> a',
    ]);
  });

  it('one that waits for itself is a circle too', async () => {
    const { problems } = await failedStart({ files: { 'plugins/a.ts': waitingFor(['a']) } });
    expect(problems[0]?.message).to.equal('circular dependency between plugins: a -> a');
  });

  it('one that comes after a failed one that it uses fails with it, and says why', async () => {
    const { problems } = await failedStart({
      ini: '[plugin_parms]\nfirst=required=bool:false\n',
      files: {
        'plugins/first.ts': `${kit}export default definePlugin({ setup() { throw new Error('no luck'); } });\n`,
        'plugins/second.ts': waitingFor(['first'], "context.plugin('first');"),
      },
    });
    expect(problems[0]?.message).to.match(
      /plugin "second" failed in its setup: plugin "first" is not ready: .*no luck/,
    );
  });

  it('one that fails in its own code is shown with its line of the configuration, where it has one', async () => {
    const failing = `${kit}export default definePlugin({ setup() { throw new Error('no luck'); } });\n`;
    const files = { 'plugins/a.ts': failing };
    const configured = await failedStart({ ini: '[plugin_parms]\na=required=bool:true\n', files });
    expect(relative(configured.folder, configured.problems[0]!.position.file)).to.equal('plugins/a.ts');
    expect(configured.problems[0]?.hint).to.match(/^correct it, or its line, plugin-server\.ini:2:1; or let/);
    const bare = await failedStart({ files });
    expect(bare.problems[0]?.hint).to.match(/^correct it, or let the server start without it/);
  });

  it('one that cannot be read is told of in one line without blanks at its end', async () => {
    const { problems } = await failedStart({ files: { 'plugins/a.ts': 'export default (((' } });
    expect(problems[0]?.message).to.match(/plugin "a" cannot be loaded: .*\S$/);
  });

  it('all that is wrong with several is said at once', async () => {
    const { problems } = await failedStart({
      ini: '[plugin_parms]\nfour=count=many\nfvie=x=1\n',
      files: {
        'plugins/one.ts': 'const = 1;\n',
        'plugins/two.ts': 'export default 1;\n',
        'plugins/three.ts': waitingFor(['nobody']),
        'plugins/four.ts': `${kit}export default definePlugin({ config: z.object({ count: z.number() }), setup() {} });\n`,
        'plugins/five.ts': waitingFor([]),
      },
    });
    const messages = problems.map(({ message }) => message).join('\n');
    expect(messages).to.match(/plugin "one" cannot be loaded/);
    expect(messages).to.match(/plugin "two" has no default export/);
    expect(messages).to.match(/plugin "three" depends on "nobody"/);
    expect(messages).to.match(/"count" in the parameters of four/);
    expect(messages).to.match(/plugin "fvie" does not exist/);
    expect(problems).to.have.length(5);
  });

  it('those set up already are closed in reverse order when a later one stops the start', async () => {
    const lines: string[] = [];
    const closing = (name: string) =>
      `${kit}export default definePlugin({ setup({ onClose, log }) { onClose(() => log.info('${name} closes')); } });\n`;
    const failed = await failedStart({
      logDestination: { write: (line) => lines.push(JSON.parse(line).msg) },
      files: {
        'plugins/a.ts': closing('a'),
        'plugins/b.ts': closing('b'),
        'plugins/c.ts': `${kit}export default definePlugin({ setup({ onClose, log, signal }) {
          onClose(() => log.info('c closes, aborted ' + signal.aborted));
          throw new Error('no');
        } });\n`,
      },
    });
    expect(failed.problems).to.have.length(1);
    expect(lines.filter((line) => line.includes('closes'))).to.deep.equal([
      'c closes, aborted true',
      'b closes',
      'a closes',
    ]);
  });

  it('one whose close hooks throw or hang keeps no other from closing', async () => {
    const server = await start({
      safe: true,
      ini: '[main]\nsafe=list:a b\n',
      deadlines: { close: 200 },
      files: {
        'plugins/a.ts': `${kit}export default definePlugin({ setup({ onClose, log }) { onClose(() => log.info('a closes')); } });\n`,
        'plugins/b.ts': `${kit}export default definePlugin({ setup({ onClose, log }) {
          onClose(() => log.info('b closes'));
          onClose(() => new Promise<void>(() => {}));
          onClose(() => { throw new Error('cannot close'); });
          onClose(async () => { throw new Error('cannot close later'); });
        } });\n`,
      },
    });
    await server.host.close();
    const said = server.logs.map(({ msg }) => msg);
    expect(said.filter((msg) => /clos/i.test(msg))).to.deep.equal([
      'plugin "b" failed in its onClose hook: cannot close later',
      'plugin "b" failed in its onClose hook: cannot close',
      'plugin "b" did not finish its onClose hook within 0.2 s',
      'b closes',
      'a closes',
    ]);
  });

  it('one whose readiness check fails or hangs is named by /readyz, and serves on', async () => {
    const server = await start({
      files: {
        'plugins/a.ts': `${kit}export default definePlugin({ setup({ router, onCheck }) {
          router.get('/', (ctx) => { ctx.body = 'still here'; });
          onCheck('database', () => { throw new Error('connect ECONNREFUSED 10.0.0.7:27017 as admin:secret'); });
        } });\n`,
      },
    });
    const ready = await server.fetch('/readyz');
    expect(ready.status).to.equal(503);
    expect(await ready.json()).to.deep.include({
      code: 'not_ready',
      error: 'Not ready: a/database (failed).',
    });
    expect(server.logText()).to.contain('ECONNREFUSED');
    expect(await (await server.fetch('/a')).text()).to.equal('still here');
  });

  it('a late failure of setup, after its deadline, is not taken for anything', async () => {
    const server = await start({
      safe: true,
      ini: '[main]\nsafe=list:slow good\n[plugin_parms]\nslow=required=bool:false\n',
      deadlines: { setup: 500 },
      files: {
        'plugins/slow.ts': `${kit}export default definePlugin({ async setup({ signal, router }) {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          router.get('/', (ctx) => { ctx.body = 'too late'; });
          throw new Error('late');
        } });\n`,
        'plugins/good/index.ts': good,
      },
    });
    expect((await server.fetch('/slow')).status).to.equal(503);
    expect((await server.fetch('/good')).status).to.equal(200);
  });

  it('a plugin may take a second path, and its own once more', async () => {
    const server = await start({
      files: {
        'plugins/two.ts': `${kit}export default definePlugin({ setup({ router, mount }) {
          router.get('/', (ctx) => { ctx.body = 'own'; });
          mount('other/place').get('/', (ctx) => { ctx.body = 'second'; });
          mount('/two').get('/again', (ctx) => { ctx.body = 'own again'; });
        } });\n`,
      },
    });
    expect(await (await server.fetch('/two')).text()).to.equal('own');
    expect(await (await server.fetch('/other/place')).text()).to.equal('second');
    expect(await (await server.fetch('/two/again')).text()).to.equal('own again');
  });

  it('a path taken too late is refused', async () => {
    const server = await start({
      files: {
        'plugins/late.ts': `${kit}export default definePlugin({ setup({ router, mount }) {
          router.get('/', (ctx) => { mount('/later'); ctx.body = 'no'; });
        } });\n`,
      },
    });
    expect((await server.fetch('/late')).status).to.equal(500);
    expect(server.logText()).to.contain('was called after setup; call it in setup');
  });
});
