import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

describe('Markdown pages', () => {
  let server: TestServer;

  before(async () => {
    server = await startServer({
      ini: '[file_server]\ndocuments=docs:pages\n',
      files: {
        'outside.md': 'the-secret-outside',
        'pages/index.md': '# Welcome & *hello*\n\nSee [the other](other.md#second-part).\n',
        'pages/other.md': 'Intro\n\n## Second part\n\n## Second part\n\n# Later `title`\n',
        'pages/untitled.md': 'nothing but text',
        'pages/titled.md': '@TITLE=Given <title>@\n# Heading\n',
        'pages/code.md':
          '```js\nconst answer = 42; // yes\n```\n\n```nosuchlanguage\n<b>\n```\n\n    indented <i>\n',
        'pages/html.md':
          'Some <b onclick="alert(1)">bold</b> text\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n',
        'pages/table.md': '| a | b |\n| - | - |\n| 1 | 2 |\n\n~~gone~~ https://example.com/x\n',
        'pages/dollar.md': "# Costs $& and $1\n\n$` $' {{title}} {{content}}\n",
        'pages/huge.md': `# Huge\n\n${'word '.repeat(110_000)}`,
        'pages/long-code.md': `\`\`\`js\n${'const a = 1;\n'.repeat(12_000)}\`\`\`\n`,
        'pages/many.md': `${'# Same\n\n'.repeat(5)}# Same-1\n`,
        'pages/inc/main.md':
          '@TITLE=Main@\nbefore\n\n@INCLUDE=part.md@\n\n@INCLUDE=/inc/deep/leaf.md@\n\nafter\n',
        'pages/inc/part.md': '@TITLE=Part@\n**part** with @INCLUDE=deep/leaf.md@\n',
        'pages/inc/deep/leaf.md': 'leaf and @INCLUDE=../shared.txt@\n',
        'pages/inc/shared.txt': 'shared text\n',
        'pages/inc/circle-a.md': 'a @INCLUDE=circle-b.md@\n',
        'pages/inc/circle-b.md': 'b @INCLUDE=circle-a.md@\n',
        'pages/inc/self.md': 'self @INCLUDE=self.md@\n',
        'pages/inc/escaped.md': 'Write \\@INCLUDE=part.md@, or @include=part.md@\n',
        'pages/inc/code.md':
          'Spans `@INCLUDE=shared.txt@` and ``@TITLE=No@``, a tick ` and @INCLUDE=shared.txt@\n\n```\n@INCLUDE=shared.txt@```\n',
        'pages/inc/.hidden.md': 'the-secret-hidden',
        'pages/inc/out.md': [
          '@INCLUDE=../../outside.md@',
          '@INCLUDE=/../outside.md@',
          '@INCLUDE=/etc/passwd@',
          '@INCLUDE=link.md@',
          '@INCLUDE=.hidden.md@',
          '@INCLUDE=~/.profile@',
          '@INCLUDE=..@',
          '@INCLUDE=deep@',
          '@INCLUDE=not-there.md@',
        ].join('\n\n'),
        'pages/inc/late.md': 'has @INCLUDE=comes-late.md@\n',
        'pages/inc/bomb.md': '@INCLUDE=bomb1.md@@INCLUDE=bomb1.md@@INCLUDE=bomb1.md@',
        ...Object.fromEntries(
          [1, 2, 3, 4, 5, 6, 7, 8].map((n) => [
            `pages/inc/bomb${n}.md`,
            `x${n < 8 ? `@INCLUDE=bomb${n + 1}.md@`.repeat(8) : ''}`,
          ]),
        ),
      },
    });
    await symlink(join(server.folder, 'outside.md'), join(server.folder, 'pages/inc/link.md'));
  });

  after(() => server.close());

  const page = async (path: string) => {
    const answer = await server.fetch(path);
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('content-type')).to.equal('text/html; charset=utf-8');
    return answer.text();
  };
  const main = async (path: string) => /<main>\n?([\s\S]*)<\/main>/.exec(await page(path))?.[1] ?? '';

  it('is a whole HTML document, and answers for its folder', async () => {
    const html = await page('/docs/');
    expect(html).to.match(/^<!doctype html>\n<html lang="en">/);
    expect(html).to.contain('<h1 id="welcome--hello">Welcome &amp; <em>hello</em></h1>');
    expect(html).to.contain('<a href="other.md#second-part">');
    expect(await page('/docs/index.md')).to.equal(html);
  });

  it('takes its title from @TITLE, else from the first top heading, else from the file name', async () => {
    expect(await page('/docs/titled.md')).to.contain('<title>Given &#60;title&#62;</title>');
    expect(await page('/docs/index.md')).to.contain('<title>Welcome &#38; hello</title>');
    expect(await page('/docs/other.md')).to.contain('<title>Later title</title>');
    expect(await page('/docs/untitled.md')).to.contain('<title>untitled</title>');
    expect(await main('/docs/titled.md')).not.to.contain('TITLE');
  });

  it('gives each heading an id of its own', async () => {
    const html = await main('/docs/other.md');
    expect(html).to.contain('<h2 id="second-part">').and.contain('<h2 id="second-part-1">');
    const ids = [...(await main('/docs/many.md')).matchAll(/id="([^"]*)"/g)].map(([, id]) => id);
    expect(ids).to.have.length(6);
    expect(new Set(ids).size).to.equal(6);
  });

  it('highlights code whose language it knows, and shows all other code as it is', async () => {
    const html = await main('/docs/code.md');
    expect(html).to.contain('<span class="hljs-keyword">const</span>');
    expect(html).to.contain('<span class="hljs-comment">// yes</span>');
    expect(html).to.contain('&lt;b&gt;').and.contain('indented &lt;i&gt;');
  });

  it('shows a very long block of code without highlighting it', async () => {
    const html = await main('/docs/long-code.md');
    expect(html).to.contain('const a = 1;').and.not.contain('hljs-');
  });

  it('has tables, strike-through and bare links', async () => {
    const html = await main('/docs/table.md');
    expect(html)
      .to.contain('<td>2</td>')
      .and.contain('<s>gone</s>')
      .and.contain('<a href="https://example.com/x">');
  });

  it('shows HTML in the text as text, and makes no link of a script', async () => {
    const html = await main('/docs/html.md');
    expect(html)
      .not.to.match(/<(b|script)\b/)
      .and.not.to.contain('href="javascript:');
    expect(html).to.contain('&lt;script&gt;');
  });

  it('does not take the text for placeholders or patterns', async () => {
    const html = await page('/docs/dollar.md');
    expect(html).to.contain('<title>Costs $&#38; and $1</title>');
    expect(html).to.contain("$` $' {{title}} {{content}}");
  });

  it('allows no script, and only the styles that are its own', async () => {
    const policy = (await server.fetch('/docs/')).headers.get('content-security-policy') ?? '';
    expect(policy).to.contain("default-src 'none'").and.contain("frame-ancestors 'self'");
    expect(policy).not.to.contain('script-src').and.not.to.contain('unsafe-inline');
  });

  it('serves a text that is too long for a page as it is', async () => {
    const answer = await server.fetch('/docs/huge.md');
    expect(answer.headers.get('content-type')).to.equal('text/markdown; charset=utf-8');
    expect(await answer.text()).to.match(/^# Huge/);
  });

  describe('includes', () => {
    it('come relative to the file they stand in, or from the folder on, however deep', async () => {
      const html = await main('/docs/inc/main.md');
      expect(html).to.match(
        /before[\s\S]*<strong>part<\/strong> with leaf and shared text[\s\S]*leaf and shared text[\s\S]*after/,
      );
      expect(html).not.to.contain('@');
      expect(await page('/docs/inc/main.md')).to.contain('<title>Main</title>');
    });

    it('never reach out of the folder or to hidden files; a note stands in their place', async () => {
      const html = await main('/docs/inc/out.md');
      expect(html).not.to.contain('the-secret').and.not.to.contain('root:');
      expect(html.match(/is not included: file not found in the served folder/g)).to.have.length(9);
      expect(html).not.to.contain(server.folder);
    });

    it('in a circle stop, and the log says where', async () => {
      expect(await main('/docs/inc/circle-a.md')).to.contain(
        'a b [circle-a.md is not included: it includes itself]',
      );
      expect(await main('/docs/inc/self.md')).to.contain('[self.md is not included: it includes itself]');
      const line = server.logs.find(({ include }) => include === 'circle-a.md');
      expect(line).to.include({
        file: 'inc/circle-b.md',
        plugin: 'files',
        msg: 'not included: it includes itself',
      });
    });

    it('that multiply are cut off', async () => {
      expect(await main('/docs/inc/bomb.md')).to.contain('a page can include at most 100 files');
    });

    it('are left alone in code spans, and carried out in blocks of code', async () => {
      const html = await main('/docs/inc/code.md');
      expect(html).to.contain(
        '<code>@INCLUDE=shared.txt@</code> and <code>@TITLE=No@</code>, a tick ` and shared text',
      );
      expect(html).to.contain('<pre tabindex="0"><code>shared text\n</code></pre>');
    });

    it('with a backslash in front stay as they are written', async () => {
      expect(await main('/docs/inc/escaped.md')).to.contain('Write @INCLUDE=part.md@, or @include=part.md@');
    });
  });

  describe('changes', () => {
    const tagOf = async (path: string) => (await server.fetch(path)).headers.get('etag') ?? '';
    it('answers 304 for an unchanged page and the new one for a changed include', async () => {
      const path = '/docs/inc/main.md';
      const etag = await tagOf(path);
      const ask = () => requestRaw(server.url, path, { headers: { 'If-None-Match': etag } });
      expect((await ask()).status).to.equal(304);
      await writeFile(join(server.folder, 'pages/inc/shared.txt'), 'other words\n');
      const changed = await ask();
      expect(changed.status).to.equal(200);
      expect(changed.body).to.contain('other words');
      expect(await tagOf(path)).not.to.equal(etag);
    });

    it('shows an include once it is there, and misses it once it has gone', async () => {
      const path = '/docs/inc/late.md';
      const late = join(server.folder, 'pages/inc/comes-late.md');
      expect(await main(path)).to.contain('not included');
      await writeFile(late, 'arrived');
      expect(await main(path)).to.contain('has arrived');
      await rm(late);
      expect(await main(path)).to.contain('not included');
    });

    it('answers HEAD with the length of the page', async () => {
      const get = await server.fetch('/docs/other.md');
      const head = await server.fetch('/docs/other.md', { method: 'HEAD' });
      expect(head.headers.get('content-length')).to.equal(get.headers.get('content-length'));
      expect(head.headers.get('etag')).to.equal(get.headers.get('etag'));
    });
  });
});
