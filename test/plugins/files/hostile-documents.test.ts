import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const fence = (language: string, code: string) => `# Slow\n\n\`\`\`${language}\n${code}\n\`\`\`\n`;
const deepQuotes = Array.from({ length: 2500 }, (_, line) => `${'>'.repeat(line % 200)} a`).join('\n');
const backticks = Array.from({ length: 900 }, (_, length) => '`'.repeat(length + 1)).join(' a ');

/** Code that its highlighter would work on for minutes. */
const slowCode: Readonly<Record<string, string>> = {
  js: 'a'.repeat(120_000),
  java: 'a'.repeat(120_000),
  csharp: 'a'.repeat(120_000),
  ini: '1'.repeat(120_000),
  graphql: 'a'.repeat(120_000),
};

/** Markdown that is large in what it stands for, or costs more than its length. */
const heavyMarkdown: Readonly<Record<string, string>> = {
  brackets: '['.repeat(400_000),
  images: '!['.repeat(200_000),
  'image texts': '![a'.repeat(170_000),
  emphasis: '*a _b **c '.repeat(40_000),
  quotes: deepQuotes,
  backticks,
  'link definitions': Array.from({ length: 20_000 }, (_, n) => `[a${n}]: b`).join('\n'),
  entities: '&#x41;&amp'.repeat(40_000),
  'a wide table': `${'|a'.repeat(1000)}|\n${'|-'.repeat(1000)}|\n${'|\n'.repeat(100_000)}`,
  lists: '- '.repeat(200_000),
  headings: '# a\n'.repeat(100_000),
  'bare links': '<http://a'.repeat(50_000),
  // Some 50 GB of HTML.
  'a long link used often': `[a]: <${'b'.repeat(250_000)}>\n\n${'[a] '.repeat(60_000)}`,
};

describe('hostile Markdown documents', () => {
  let server: TestServer;

  before(async () => {
    const pages = [
      ...Object.entries(slowCode).map(([language, code]) => [language, fence(language, code)] as const),
      ...Object.entries(heavyMarkdown),
    ];
    server = await startServer({
      ini: '[file_server]\ndocuments=docs:pages\n',
      files: {
        'pages/plain.txt': 'plain',
        'pages/includes.md': 'start @INCLUDE=../x@'.repeat(20_000),
        'pages/good.md': '# Good\n\n```js\nconst answer = 42;\n```\n',
        ...Object.fromEntries(pages.map(([name, text]) => [`pages/${name}.md`, text])),
      },
    });
  });

  after(() => server?.close());

  for (const [language, code] of Object.entries(slowCode)) {
    it(`${language} that cannot be highlighted in time is shown plain, and other requests do not wait`, async () => {
      const order: string[] = [];
      const slow = server.fetch(`/docs/${language}.md`).finally(() => order.push('document'));
      for (let request = 0; request < 20; request += 1) {
        expect(await (await server.fetch('/docs/plain.txt')).text()).to.equal('plain');
      }
      order.push('others');
      const answer = await slow;
      expect(order).to.deep.equal(['others', 'document']);
      expect(answer.status).to.equal(200);
      expect(answer.headers.get('content-type')).to.equal('text/html; charset=utf-8');
      const html = await answer.text();
      expect(html).to.contain('<h1 id="slow">').and.contain(code).and.not.contain('class="hljs-');
      expect(server.logs.find(({ file }) => file === `${language}.md`)).to.include({
        level: 'warn',
        plugin: 'files',
        msg: 'code not highlighted',
      });
    });
  }

  it('are rendered once for each version', async () => {
    const lines = () => server.logs.filter(({ file }) => file === 'js.md').length;
    await (await server.fetch('/docs/js.md')).text();
    const before = lines();
    const [first, second] = await Promise.all([server.fetch('/docs/js.md'), server.fetch('/docs/js.md')]);
    expect(await first.text()).to.equal(await second.text());
    expect(lines()).to.equal(before);
  });

  for (const [name, text] of Object.entries(heavyMarkdown)) {
    it(`${name}: answered as a page or as the text, and so are other requests meanwhile`, async () => {
      const heavy = server.fetch(`/docs/${encodeURIComponent(name)}.md`);
      expect(await (await server.fetch('/docs/plain.txt')).text()).to.equal('plain');
      const answer = await heavy;
      expect(answer.status).to.equal(200);
      const body = await answer.text();
      if (answer.headers.get('content-type') === 'text/markdown; charset=utf-8') expect(body).to.equal(text);
      else expect(body).to.match(/^<!doctype html>[\s\S]*<\/html>\n$/);
    });
  }

  it('that stand for more HTML than a page may have: served as text', async () => {
    const answer = await server.fetch('/docs/a%20long%20link%20used%20often.md');
    expect(answer.headers.get('content-type')).to.equal('text/markdown; charset=utf-8');
    const line = server.logs.find(({ file }) => file === 'a long link used often.md');
    expect(line?.msg).to.equal('Markdown not rendered, served as text');
  });

  it('with thousands of includes that fail: the log tells of the first hundred', async () => {
    expect((await server.fetch('/docs/includes.md')).status).to.equal(200);
    const lines = server.logs.filter(({ include }) => include === '../x');
    expect(lines).to.have.length(101);
    expect(lines.at(-1)?.msg).to.equal('not included: a page can include at most 100 files');
  });

  it('leave later documents as they are', async () => {
    const html = await (await server.fetch('/docs/good.md')).text();
    expect(html).to.contain('<h1 id="good">').and.contain('<span class="hljs-keyword">const</span>');
  });
});
