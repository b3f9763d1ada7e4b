import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError, formatProblem } from '../../../config/index.js';
import { prepare } from '../../../host/prepare/index.js';
import { type CommandResult, runCommand } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

const kit = "import { definePlugin, z } from 'plugin-server';\n";
const define = (members: string) => `${kit}export default definePlugin({\n  ${members}\n});\n`;

describe('check', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function check(
    files: Readonly<Record<string, string>>,
    ini = '[main]\nsafe=list:bad\n',
  ): Promise<CommandResult> {
    await writeFiles(folder, { 'plugin-server.ini': ini, ...files });
    return runCommand(folder, 'check');
  }

  /** The problems as `check` prints them, found in this process and in one plugin, which is quicker. */
  async function problemsOf(file: string, text: string): Promise<string> {
    await writeFiles(folder, { 'plugin-server.ini': '[main]\nsafe=list:bad\n', [`plugins/${file}`]: text });
    try {
      await prepare({ iniFile: join(folder, 'plugin-server.ini'), safe: true });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map((problem) => `${formatProblem(problem, { cwd: folder })}\n`).join('');
    }
    return '';
  }

  const setup = 'setup() {},';
  const vanishing = "import { unlinkSync } from 'node:fs';\nunlinkSync(new URL(import.meta.url));\n";

  it('takes a plugin whose file is gone once it is loaded', async () => {
    expect(await problemsOf('bad.ts', vanishing + define(setup))).to.equal('');
  });

  it('reports what is wrong with a file that is gone once it is loaded', async () => {
    expect(await problemsOf('bad.ts', vanishing + define(`aftr: [], ${setup}`))).to.match(
      /^plugins\/bad\.ts:1:1: unknown member "aftr"/,
    );
  });

  for (const [title, members, complaint] of [
    [
      'a misspelt setup',
      'setUp() {},',
      /^plugins\/bad\.ts:3:3: unknown member "setUp" .* did you mean "setup"\?/,
    ],
    ['a misspelt after', `aftr: [], ${setup}`, /:3:3: unknown member "aftr" .* did you mean "after"\?/],
    ['a quoted member', `'config ': z.object({}), ${setup}`, /:3:3: unknown member "config " .*"config"\?/],
    [
      'a member of another server',
      `routes: [], ${setup}`,
      /:3:3: unknown member "routes".* the members are name/,
    ],
    ['a later member', `${setup}\n  // tidy: up\n  async tidy() {},`, /:5:9: unknown member "tidy"/],
    [
      'a text for after',
      `after: 'sessman', ${setup}`,
      /:3:3: after of plugin "bad" is "sessman", not an array/,
    ],
    [
      'a number in after',
      `after: [7], ${setup}`,
      /:3:3: after of plugin "bad" is an array with other values/,
    ],
    [
      'an empty name in after',
      `after: [''], ${setup}`,
      /:3:3: after of plugin "bad" is \[""\], not an array of plugin/,
    ],
    ['no setup', "name: 'bad',", /:2:16: the definition of plugin "bad" has no setup; write: setup/],
    ['a setup that is an object', 'setup: {},', /:3:3: setup of plugin "bad" is an object, not a function/],
    ['a setup of null', 'setup: null,', /:3:3: setup of plugin "bad" is null, not a function/],
    [
      'a config of plain values',
      `config: { a: 1 }, ${setup}`,
      /:3:3: config of plugin "bad" is an object, not a zod/,
    ],
    [
      'a config that is a function',
      `config: () => z.object({}), ${setup}`,
      /:3:3: config .* is a function, not a zod/,
    ],
    [
      'a schema for sections',
      `sections: z.object({}), ${setup}`,
      /:3:3: sections .* is an object, not an object of zod/,
    ],
    [
      'sections without schemas',
      `sections: { a: {} }, ${setup}`,
      /:3:3: sections .* not an object of zod schemas/,
    ],
    ['a check of true', `check: true, ${setup}`, /:3:3: check of plugin "bad" is true, not a function/],
    ['an auth of the INI file', `auth: 'none', ${setup}`, /:3:3: auth of plugin "bad" is "none", not 'own'/],
    ['a name that is a number', `name: 5, ${setup}`, /:3:3: name of plugin "bad" is 5, not a name/],
    [
      'an inner member of the same name, not taken for it',
      `config: z.object({ setUp: z.string().default('') }),\n  setUp() {},`,
      /:4:3: unknown member "setUp"/,
    ],
  ] as const) {
    it(`finds ${title}, at its place in the plugin's file`, async () => {
      const problems = await problemsOf('bad.ts', define(members));
      expect(problems).to.match(complaint);
      expect(problems.trimEnd().split('\n')).to.have.length(1);
    });
  }

  it('reports every fault of a definition at once', async () => {
    const { stderr } = await check({
      'plugins/bad.mjs': define("after: 'x', nam: 'y', config: 3, setup() {},"),
    });
    expect(stderr).to.match(/bad\.mjs:3:3: after/m);
    expect(stderr).to.match(/bad\.mjs:3:15: unknown member "nam"/m);
    expect(stderr).to.match(/bad\.mjs:3:25: config/m);
    expect(stderr).to.match(/3 problems\n$/);
  });

  it('tells how to make a module of a CommonJS file', async () => {
    const { stderr } = await check({
      'package.json': '{"type":"commonjs"}',
      'plugins/bad.js': define(setup),
    });
    expect(stderr).to.match(
      /outside a module; write "type": "module" in package\.json, or name this file \.mjs$/m,
    );
  });

  for (const [file, text, line] of [
    ['bad.ts', `${define(setup)}export default {};\n`, 5],
    ['bad.mjs', `${define(setup)}export default {};\n`, 5],
  ] as const) {
    it(`finds a second default export in ${file}`, async () => {
      const stderr = await problemsOf(file, text);
      expect(stderr).to.match(new RegExp(`^plugins/${file.replace('.', '\\.')}:${line}:\\d+: `));
      expect(stderr).to.match(/keep one default export|correct this file/);
    });
  }

  for (const [title, file, text, complaint] of [
    [
      'package',
      'bad.ts',
      `${kit}import { x } from 'nope-not-there';\nx();\n`,
      /bad\.ts:2:20: .*; run: npm install nope-not-there\n/,
    ],
    [
      'package',
      'bad.mjs',
      `${kit}import 'nope-not-there/sub.js';\n`,
      /bad\.mjs:2:9: .*; run: npm install nope-not-there\n/,
    ],
    [
      'scoped package',
      'bad.cjs',
      "const x = 1;\nrequire('@acme/nope/sub');\n",
      /bad\.cjs:2:10: .*; run: npm install @acme\/nope\n/,
    ],
    [
      'scoped package',
      'bad.ts',
      `${kit}import y from "@acme/nope";\ny();\n`,
      /bad\.ts:2:16: .*; run: npm install @acme\/nope\n/,
    ],
    [
      'file',
      'bad.ts',
      `${kit}import './gone.js';\n`,
      /bad\.ts:2:9: .*; correct the path, or create the file\n/,
    ],
    [
      'file',
      'bad.mjs',
      `${kit}import './gone.js';\n`,
      /bad\.mjs:2:9: .*; correct the path, or create the file\n/,
    ],
    [
      'module of Node',
      'bad.ts',
      `${kit}import 'node:nope';\n`,
      /bad\.ts:2:9: .*; correct the name: Node has no such module\n/,
    ],
    ...(['bad.ts', 'bad.mjs'] as const).map(
      (file) =>
        [
          'name of "imports"',
          file,
          `${kit}import '#nope';\n`,
          /2:9: .*; correct the name, or define it in "imports" of package.json\n/,
        ] as const,
    ),
  ] as const) {
    it(`points at the import of a ${title} that is not there in ${file}`, async () => {
      const stderr = await problemsOf(file, text);
      expect(stderr).to.match(complaint);
    });
  }

  it('lists plugins that the server would start without, and says what it did not try', async () => {
    const ini = '[main]\nsafe=list:bad\n[plugin_parms]\nbad=required=off\nworse=required=off\n';
    const { status, stdout, stderr } = await check(
      { 'plugins/bad.ts': define('setUp() {},'), 'plugins/worse.mjs': "throw new Error('no');\n" },
      ini,
    );
    expect(status).to.equal(0);
    expect(stderr).to.match(/^plugins\/bad\.ts:3:3: warning: unknown member "setUp".*starts without "bad"/m);
    expect(stderr).to.match(/^plugins\/worse\.mjs:1:7: warning: .*starts without "worse"/m);
    expect(stdout).to.match(/^configuration ok: \d+ plugins, 2 warnings; setup was not run\n$/);
  });
});
