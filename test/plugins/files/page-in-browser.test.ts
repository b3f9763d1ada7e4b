import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, needsBrowser } from '../../support/browser.js';
import { startServer, type TestServer } from '../../support/server.js';

const axe = createRequire(import.meta.url).resolve('axe-core');

const text = `# A page

Some text with \`code\`, a [link](#second-part) and a picture: ![dot](dot.svg)

## Second part

\`\`\`js
// A comment, and a line that is far too long for a telephone: ${'x'.repeat(100)}
const answer = 42 + 'text'.length; class A extends B {}
\`\`\`

| a | b |
| - | - |
| ${'wide '.repeat(30)} | ${'wide'.repeat(30)} |

> A quotation.

<script>document.title = 'taken over'</script>
<img alt="" src=x onerror="document.title = 'taken over'">
`;

describe('a Markdown page in a browser', function () {
  this.timeout(60_000);
  let server: TestServer;
  let browser: Browser;

  before(async function () {
    needsBrowser(this);
    server = await startServer({
      ini: '[file_server]\ndocuments=docs:public\nmarkdown_html=on\n',
      files: {
        'public/index.md': text,
        'public/dot.svg':
          '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>',
      },
    });
    browser = await launchBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  async function open(colorScheme: 'light' | 'dark', width: number): Promise<Page> {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    await page.goto(`${server.url}/docs/`);
    return page;
  }

  it('runs nothing that is in the text', async () => {
    const page = await open('light', 1280);
    expect(await page.title()).to.equal('A page');
    expect(
      await page.locator('img[alt=dot]').evaluate((img) => (img as { naturalWidth?: number }).naturalWidth),
    ).to.equal(9);
  });

  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [360, 768, 1280]) {
      it(`${scheme}, ${width} wide, is styled, fits, and is accessible`, async () => {
        const page = await open(scheme, width);
        const [ground, overflow] = await page.evaluate<[string, number]>(`[
          getComputedStyle(document.body).backgroundColor,
          document.documentElement.scrollWidth - innerWidth,
        ]`);
        expect(ground).to.equal(scheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(15, 19, 24)');
        expect(overflow).to.be.at.most(0);
        // The page's own policy lets no script in, so axe comes by the debugger.
        await page.evaluate(await readFile(axe, 'utf8'));
        const violations = await page.evaluate<{ id: string; nodes: unknown[] }[]>(
          `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'best-practice'] }).then(({ violations }) => violations)`,
        );
        expect(violations.map(({ id }) => id)).to.deep.equal([]);
      });
    }
  }
});
