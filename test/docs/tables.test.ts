import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

describe('the tables of settings and errors in the documentation', () => {
  it('are as the code makes them: npm run docs', async () => {
    const reference = new URL('../../../docs/reference.mjs', import.meta.url);
    const { pages } = (await import(fileURLToPath(reference))) as {
      pages(): Promise<ReadonlyMap<string, string>>;
    };
    for (const [path, text] of await pages()) expect(await readFile(path, 'utf8'), path).to.equal(text);
  });
});
