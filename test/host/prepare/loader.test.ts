import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { packageFolder } from '../../../host/package-layout.js';
import { startServer } from '../../support/server.js';

describe('loading plugins', () => {
  it("lets a plugin with a package.json of its own import the kit inside this package's folder too", async () => {
    const parent = join(packageFolder, 'data');
    await mkdir(parent, { recursive: true });
    const folder = await mkdtemp(join(parent, 'test-'));
    try {
      const server = await startServer({
        folder,
        files: {
          'plugins/inner/package.json': '{"name":"inner","version":"1.0.0","type":"module"}',
          'plugins/inner/index.js': `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ router }) { router.get('/', (ctx) => { ctx.body = { inner: true }; }); } });
`,
        },
      });
      try {
        expect(await (await server.fetch('/inner')).json()).to.deep.equal({ inner: true });
      } finally {
        await server.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  for (const exports of [
    './lib/entry.js',
    { '.': './lib/entry.js' },
    { import: './lib/entry.js' },
    { node: './lib/entry.js', default: './none.js' },
    { browser: './none.js', default: './lib/entry.js' },
    { '.': { node: { import: './lib/entry.js', require: './none.cjs' } } },
    { '.': { import: { types: './none.d.ts', default: './lib/entry.js' } } },
    { '.': [{ browser: './none.js' }, './lib/entry.js'] },
    ['./lib/entry.js', './none.js'],
    { '.': { deno: './none.js', node: { browser: './none.js' }, default: './lib/entry.js' } },
  ]) {
    it(`finds the entry of a package whose exports are ${JSON.stringify(exports)}`, async () => {
      const manifest = { name: 'inner', type: 'module', exports };
      const server = await startServer({
        ini: '[main]\nsafe=list:inner\n',
        safe: true,
        files: {
          'plugins/inner/package.json': JSON.stringify(manifest),
          'plugins/inner/lib/entry.js': `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ router }) { router.get('/', (ctx) => { ctx.body = 'found'; }); } });
`,
        },
      });
      try {
        expect(await (await server.fetch('/inner')).text()).to.equal('found');
      } finally {
        await server.close();
      }
    });
  }

  const refusing = `import { definePlugin, HttpError } from 'plugin-server';
export default definePlugin({ setup({ router }) { router.get('/', () => { throw new HttpError(418, 'teapot', 'short and stout'); }); } });
`;

  /** Starts a plugin beside whose folder node_modules/plugin-server is `installed`. */
  async function answerBeside(install: (folder: string) => Promise<void>): Promise<unknown> {
    const folder = await mkdtemp(join(tmpdir(), 'plugin-server-'));
    try {
      await mkdir(join(folder, 'node_modules'));
      await install(join(folder, 'node_modules'));
      const files = { 'plugins/pot/index.mjs': refusing };
      const server = await startServer({ folder, files });
      try {
        const response = await server.fetch('/pot');
        return [response.status, ((await response.json()) as { code: string }).code];
      } finally {
        await server.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  it('gives TypeScript files imports that are live, also where they import each other and use that later', async () => {
    const server = await startServer({
      ini: '[main]\nsafe=list:inner\n',
      safe: true,
      files: {
        'plugins/inner/index.ts': `import { definePlugin } from 'plugin-server';
import { one, All, early } from './a.ts';
import ten, { add, count } from './state.ts';
import seven, * as b from './b.ts';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = [one(), new All().two(), b.three, Object.keys(b).sort(), seven.eight(), early, ten, count, add(), count]; });
  },
});`,
        'plugins/inner/state.ts': `export let count = 0;
export function add() { count += 1; return 'added'; }
let ten = 9;
export { ten as default };
ten = 10;
`,
        'plugins/inner/a.ts': `import { two, three } from './b.ts';
import fallback from './b.ts';
export function one() { return three + fallback.eight() + Object.keys(fallback).length; }
export class All { two() { return two(); } }
export var early = 1;
export const nine = 9;
export enum Size { Small = 's' }
export default class Ten { ten = 10; }
`,
        'plugins/inner/b.ts': `import Ten, { All, one, nine, Size, early as tooEarly } from './a.ts';
export { nine as again } from './a.ts';
export * from './a.ts';
export const hoisted = typeof one;
export const variable = String(tooEarly);
export const two = () => [typeof All, nine, Size.Small, new Ten().ten, Ten.name];
export const three = 3;
export default { eight: () => 8 };
`,
      },
    });
    try {
      const answer = (await (await server.fetch('/inner')).json()) as unknown[];
      expect(answer).to.deep.equal([
        12,
        ['function', 9, 's', 10, 'Ten'],
        3,
        ['All', 'Size', 'again', 'default', 'early', 'hoisted', 'nine', 'one', 'three', 'two', 'variable'],
        8,
        1,
        10,
        0,
        'added',
        1,
      ]);
    } finally {
      await server.close();
    }
  });

  it('gives a plugin the kit of the server that runs it, where that is installed beside it', async () => {
    const answer = await answerBeside(async (modules) => {
      await symlink(packageFolder, join(modules, 'plugin-server'));
      await symlink(join(packageFolder, 'node_modules', 'zod'), join(modules, 'zod'));
    });
    expect(answer).to.deep.equal([418, 'teapot']);
  });

  it('gives it that kit where another version is installed beside it, too', async () => {
    const answer = await answerBeside(async (modules) => {
      const other = join(modules, 'plugin-server');
      await mkdir(other);
      await writeFile(
        join(other, 'package.json'),
        '{"name":"plugin-server","version":"0.0.1","type":"module"}',
      );
      await writeFile(join(other, 'index.js'), 'throw new Error("the other version");');
    });
    expect(answer).to.deep.equal([418, 'teapot']);
  });
});
