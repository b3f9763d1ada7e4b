import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { startPlugin } from '../../host/testing.js';
import { makeFolder, writeFiles } from '../support/server.js';

const kit = "import { definePlugin } from 'plugin-server';\n";

describe('startPlugin', () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, {
      'clock.mjs': `${kit}export default definePlugin({ setup: () => ({ now: () => '12:00' }) });\n`,
      'greeter.mjs': `${kit}export default definePlugin({
  after: ['clock'],
  setup({ router, plugin }) {
    const clock = plugin('clock');
    router.get('/', (ctx) => { ctx.body = clock.now(); });
  },
});
`,
    });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const [title, form] of [
    ['a URL', (path: string) => pathToFileURL(path)],
    ['the text of a URL', (path: string) => pathToFileURL(path).href],
    ['an absolute path', (path: string) => path],
  ] as const) {
    it(`starts another plugin that is given as ${title}`, async () => {
      const server = await startPlugin(join(folder, 'greeter.mjs'), {
        plugins: [form(join(folder, 'clock.mjs'))],
      });
      try {
        expect(await (await fetch(`${server.url}/greeter`)).text()).to.equal('12:00');
      } finally {
        await server.close();
      }
    });
  }

  for (const [option, hint] of [
    ['parameter', 'did you mean "parameters"?'],
    ['plugin', 'did you mean "plugins"?'],
    ['port', 'the options are parameters, plugins, ini'],
  ] as const) {
    it(`refuses the unknown option ${option}`, async () => {
      const error = await startPlugin(join(folder, 'clock.mjs'), { [option]: {} }).catch((reason) => reason);
      expect(error).to.be.instanceOf(TypeError);
      expect(error.message).to.equal(`startPlugin: unknown option "${option}"; ${hint}`);
    });
  }
});
