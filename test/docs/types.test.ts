import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { installPackage, typeCheck } from '../support/package.js';
import { makeFolder } from '../support/server.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));

interface Block {
  readonly page: string;
  readonly line: number;
  readonly text: string;
}

/** Every TypeScript block of a page, whether it is a file that the reader writes or stands alone. */
async function blocksOf(page: string): Promise<readonly Block[]> {
  const text = await readFile(join(project, page), 'utf8');
  return [...text.matchAll(/^```(?:ts|typescript)\n([\s\S]*?)^```$/gm)].map(({ 1: block = '', index }) => ({
    page,
    line: text.slice(0, index).split('\n').length + 1,
    text: block,
  }));
}

/** The packages that a reader of these blocks has installed, with the types that come in packages of their own. */
function packagesOf(blocks: readonly Block[]): readonly string[] {
  const names = new Set<string>();
  for (const { text } of blocks) {
    for (const [, specifier = ''] of text.matchAll(/\b(?:from|import)\s*\(?\s*'([^'.][^']*)'/g)) {
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      if (!isBuiltin(name) && name !== 'plugin-server') names.add(name);
    }
  }
  const types = [...names].map((name) => `@types/${name.replace(/^@(.*)\//, '$1__')}`);
  return [...names, ...types.filter((name) => existsSync(join(project, 'node_modules', name)))];
}

describe('the TypeScript of the documentation', function () {
  this.timeout(120_000);
  let folder: string;
  let blocks: readonly Block[];

  before(async () => {
    const pages = (await readdir(join(project, 'docs'))).filter((name) => name.endsWith('.md'));
    const all = ['README.md', 'CONTRIBUTING.md', ...pages.map((name) => join('docs', name))];
    blocks = (await Promise.all(all.map(blocksOf))).flat();
    folder = await makeFolder();
    await installPackage(folder, packagesOf(blocks));
  });

  after(() => rm(folder, { recursive: true }));

  it('is on the pages that show plugins', () => {
    const pages = new Set(blocks.map(({ page }) => page));
    expect([...pages]).to.include.members([
      'README.md',
      'docs/index.md',
      'docs/plugins.md',
      'docs/sessman.md',
    ]);
    expect(blocks.filter(({ page }) => page === 'docs/plugins.md')).to.have.length.above(8);
  });

  it('is right for tsc --strict with the published package', async () => {
    const files = blocks.map(({ page, line, text }) => [
      `${page.replaceAll(/[^\w]/g, '-')}-at-line-${line}.ts`,
      // Each block is a module of its own, whatever it imports.
      `${text}\nexport {};\n`,
    ]);
    expect(await typeCheck(folder, Object.fromEntries(files))).to.equal('');
  });
});
