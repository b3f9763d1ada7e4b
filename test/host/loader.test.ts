import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { packageFolder } from '../../host/package-info.js';
import { startServer } from '../support/server.js';

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
});
