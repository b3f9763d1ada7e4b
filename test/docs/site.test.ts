import { execFile } from 'node:child_process';
import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { makeFolder, startServer, type TestServer } from '../support/server.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));

describe('the documentation', () => {
  let folder: string;
  let server: TestServer;
  let pages: string[];

  before(async () => {
    folder = await makeFolder();
    await cp(join(project, 'docs'), join(folder, 'docs'), { recursive: true });
    pages = (await readdir(join(folder, 'docs'))).filter((name) => name.endsWith('.md'));
    const ini = await readFile(join(folder, 'docs/plugin-server.ini'), 'utf8');
    server = await startServer({ folder: join(folder, 'docs'), ini });
  });

  after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  it('is served by the file server itself, every page with its title', async () => {
    expect(pages).to.include.members(['index.md', 'configuration.md', 'sessman.md', 'plugins.md']);
    for (const page of pages) {
      const response = await server.fetch(`/docs/${page}`);
      expect(response.status, page).to.equal(200);
      expect(response.headers.get('content-type')).to.equal('text/html; charset=utf-8');
      const heading = /^# (.*)$/m.exec(await readFile(join(folder, 'docs', page), 'utf8'))![1]!;
      expect(await response.text(), page).to.include(
        `<title>${heading.replaceAll('`', '').replaceAll("'", '&#39;')}</title>`,
      );
    }
    expect((await server.fetch('/docs/')).status).to.equal(200);
  });

  it('has no link that leads nowhere', async () => {
    const texts = [...pages.map((page) => join('docs', page)), 'README.md'];
    for (const page of texts) {
      const text = (await readFile(join(project, page), 'utf8')).replaceAll(/^```[\s\S]*?^```$/gm, '');
      for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^(?:https?:|#)/.test(target!)) continue;
        const file = normalize(join(project, dirname(page), target!.split('#')[0]!));
        await readFile(file).catch(() => expect.fail(`${page} links to ${target}, which is not there`));
      }
    }
  });

  it('shows the tables of the model of scale as the model prints them', async () => {
    const model = join(project, 'bench/scale.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [model]);
    const page = await readFile(join(project, 'docs/scale.md'), 'utf8');
    expect(page, 'node bench/scale.mjs').to.include(`$ node bench/scale.mjs\n${stdout}\`\`\`\n`);
  });
});
