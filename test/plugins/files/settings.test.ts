import { rm } from 'node:fs/promises';
import { relative } from 'node:path';
import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { makeFolder, startServer, type TestServer } from '../../support/server.js';

describe('[file_server]', () => {
  const open: TestServer[] = [];
  const serve = async (section: string, files: Record<string, string> = {}) => {
    const server = await startServer({
      ini: `[file_server]\n${section}\n`,
      files: { 'public/a.txt': 'a', 'public/page.md': '# A page\n\n<b>bold</b>\n', ...files },
    });
    open.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });

  const text = async (server: TestServer, path: string) => (await server.fetch(path)).text();

  describe('documents', () => {
    it('absent serves nothing, and starts', async () => {
      const server = await startServer();
      open.push(server);
      expect((await server.fetch('/readyz')).status).to.equal(200);
      expect((await server.fetch('/files/a.txt')).status).to.equal(404);
    });

    it('with a path before the colon serves the folder there', async () => {
      const server = await serve('documents=html:public');
      expect(await text(server, '/html/a.txt')).to.equal('a');
      expect((await server.fetch('/public/a.txt')).status).to.equal(404);
      expect((await server.fetch('/files/a.txt')).status).to.equal(404);
    });

    it('without one serves it under its name', async () => {
      expect(await text(await serve('documents=public'), '/public/a.txt')).to.equal('a');
    });

    it('takes an absolute folder', async () => {
      const server = await serve(`documents=html:${process.cwd()}`);
      expect((await server.fetch('/html/package.json')).status).to.equal(200);
    });

    it('takes several with list:, and paths of several segments', async () => {
      const server = await serve('documents=list:html:public docs/api:other', { 'other/b.txt': 'b' });
      expect(await text(server, '/html/a.txt')).to.equal('a');
      expect(await text(server, '/docs/api/b.txt')).to.equal('b');
      expect((await server.fetch('/docs/b.txt')).status).to.equal(404);
      expect((await server.fetch('/docs/api', { redirect: 'manual' })).status).to.equal(404);
    });

    it("may take the plugin's own path", async () => {
      expect(await text(await serve('documents=files:public'), '/files/a.txt')).to.equal('a');
    });

    it('takes folders with blanks in their names from JSON', async () => {
      const server = await serve('documents=json=folders.json', {
        'folders.json': '["html:my folder"]',
        'my folder/c.txt': 'c',
      });
      expect(await text(server, '/html/c.txt')).to.equal('c');
    });

    it('is shown in /openapi.json', async () => {
      const server = await serve('documents=html:public');
      const { paths } = (await (await server.fetch('/openapi.json')).json()) as { paths: object };
      expect(paths).to.include.keys('/html/{path}');
    });
  });

  describe('the other keys', () => {
    it('indexfile names the file that answers for a folder, or several', async () => {
      const files = { 'public/app.html': 'app', 'public/sub/start.txt': 'start' };
      const server = await serve('documents=html:public\nindexfile=list:app.html start.txt', files);
      expect(await text(server, '/html/')).to.equal('app');
      expect(await text(server, '/html/sub/')).to.equal('start');
    });

    it('markdown=off serves Markdown as it is', async () => {
      const answer = await (await serve('documents=html:public\nmarkdown=off')).fetch('/html/page.md');
      expect(answer.headers.get('content-type')).to.equal('text/markdown; charset=utf-8');
      expect(await answer.text()).to.match(/^# A page/);
    });

    it('markdown_html=on lets HTML through, which still can run no script', async () => {
      const server = await serve('documents=html:public\nmarkdown_html=on', {
        'public/script.md': '<script>alert(1)</script>\n',
      });
      expect(await text(server, '/html/page.md')).to.contain('<b>bold</b>');
      const answer = await server.fetch('/html/script.md');
      expect(await answer.text()).to.contain('<script>alert(1)</script>');
      expect(answer.headers.get('content-security-policy'))
        .to.contain("default-src 'none'")
        .and.not.contain('script-src');
    });

    it('template puts the page into a file of the operator, read again when it changes', async () => {
      const { writeFile } = await import('node:fs/promises');
      const server = await serve('documents=html:public\ntemplate=page.html', {
        'page.html': '<title>{{title}}</title>[{{content}}]',
      });
      expect(await text(server, '/html/page.md')).to.match(/^<title>A page<\/title>\[<h1 id="a-page">/);
      await writeFile(`${server.folder}/page.html`, 'new: {{title}} {{content}}');
      expect(await text(server, '/html/page.md')).to.match(/^new: A page <h1/);
      const policy = (await server.fetch('/html/page.md')).headers.get('content-security-policy');
      expect(policy).to.contain("script-src 'self'").and.contain("default-src 'none'");
    });

    it('markdown_css and highlight_css take the place of the built-in styles', async () => {
      const server = await serve(
        'documents=html:public\nmarkdown_css=markdown.css\nhighlight_css=/html/code.css',
      );
      const html = await text(server, '/html/page.md');
      expect(html).to.contain('<link rel="stylesheet" href="/html/markdown.css">');
      expect(html).to.contain('<link rel="stylesheet" href="/html/code.css">');
      expect(html).not.to.contain('<style>');
    });

    it('max_age lets browsers keep files', async () => {
      const server = await serve('documents=html:public\nmax_age=3600');
      for (const path of ['/html/a.txt', '/html/page.md']) {
        expect((await server.fetch(path)).headers.get('cache-control'), path).to.equal('max-age=3600');
      }
    });

    it('content_security_policy is that of every answer', async () => {
      const server = await serve("documents=html:public\ncontent_security_policy=default-src 'self'");
      for (const path of ['/html/a.txt', '/html/page.md']) {
        expect((await server.fetch(path)).headers.get('content-security-policy')).to.equal(
          "default-src 'self'",
        );
      }
    });
  });

  it('has all that is wrong shown at once, before anything is set up', async () => {
    const ini =
      '[file_server]\ndocuments=list:a:nowhere b:nirgends\ntemplate=nulle-part\n[network]\nprot=1\n';
    const error = await startServer({ ini }).catch((failure: unknown) => failure);
    expect(error).to.be.instanceOf(ConfigError);
    const { problems } = error as ConfigError;
    expect(problems.map(({ position: { line, column } }) => `${line}:${column}`)).to.deep.equal([
      '2:16',
      '2:26',
      '3:10',
      '6:1',
    ]);
  });

  describe('what is wrong is shown where it stands', () => {
    for (const [section, place, message] of [
      ['documents=html:nowhere', '2:11', /folder "nowhere" does not exist/],
      ['documents=html:public/a.txt', '2:11', /"public\/a\.txt" is not a folder/],
      ['documents=list:html:public docs:nowhere', '2:28', /folder "nowhere" does not exist/],
      ['documents=html:', '2:11', /"documents" in \[file_server\]: write a request path and a folder/],
      ['documents=/', '2:11', /write a request path and a folder/],
      ['documents=..:public', '2:11', /^".*\.\." is not a valid path for a plugin/],
      ['documents=list:html:public html:other', '2:28', /\/html is given twice/],
      ['documents=metrics:public', '2:11', /the path \/metrics is reserved by the server/],
      ['documents=systeminfo:public', '2:11', /the path \/systeminfo belongs to plugin "systeminfo"/],
      ['documents=html:public\nidexfile=x', '3:1', /unknown key "idexfile" in \[file_server\]/],
      ['documents=html:public\nmax_age=soon', '3:9', /"max_age" in \[file_server\]/],
      ['documents=html:public\nmarkdown=perhaps', '3:10', /"markdown" in \[file_server\]/],
      ['documents=html:public\ntemplate=missing.html', '3:10', /template "missing.html" cannot be read/],
      ['documents=html:public\ntemplate=public/a.txt', '3:10', /template "public\/a.txt" does not contain/],
    ] as const) {
      it(section.replace('\n', ' '), async () => {
        const folder = await makeFolder();
        try {
          const server = await startServer({
            folder,
            ini: `[file_server]\n${section}\n`,
            files: { 'public/a.txt': 'a', 'other/b.txt': 'b' },
          });
          await server.close();
          expect.fail('the server started');
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          const [problem, ...others] = error.problems;
          expect(others).to.deep.equal([]);
          expect(problem?.message).to.match(message);
          const { file, line, column } = problem!.position;
          expect(`${relative(folder, file)}:${line}:${column}`).to.equal(`plugin-server.ini:${place}`);
        } finally {
          await rm(folder, { recursive: true });
        }
      });
    }
  });
});
