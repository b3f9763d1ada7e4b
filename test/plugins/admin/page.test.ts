import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { launchBrowser, needsBrowser } from '../../support/browser.js';
import { ServerProcess } from '../../support/process.js';
import { startServer } from '../../support/server.js';
import { buildPage } from './support/page.js';

const KEY = 'the-key';
const ini = `[auth]\napikey=${KEY}\n[plugin_parms]\nshaky=greeting=hi&password=hush`;
const views = ['overview', 'plugins', 'sessions', 'problems'] as const;
const shaky = `
import { definePlugin, z } from 'plugin-server';
export default definePlugin({
  config: z.strictObject({ greeting: z.string(), password: z.string() }),
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = {}; });
    router.get('/throw', () => { throw new Error('the cellar is flooded'); });
  },
});`;

describe('the admin page in a browser', function () {
  this.timeout(60_000);
  let browser: Browser;
  let server: ServerProcess;
  /** What a page asked for, and what it complained of. */
  let requests: string[];
  let complaints: string[];

  before(async function () {
    needsBrowser(this);
    buildPage();
    browser = await launchBrowser();
    server = await ServerProcess.start({ ini, files: { 'plugins/shaky.mjs': shaky } });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });

  async function open(options: BrowserContextOptions = {}, url = server.url): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    requests = [];
    complaints = [];
    page.on('request', (request) => requests.push(request.url()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (/content security|trusted/i.test(message.text())) complaints.push(message.text());
    });
    await page.goto(`${url}/admin`);
    return page;
  }

  async function signIn(options: BrowserContextOptions = {}): Promise<Page> {
    const page = await open(options);
    await page.getByLabel('Global API key').fill(KEY);
    await page.getByLabel('Global API key').press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    return page;
  }

  const show = (page: Page, view: (typeof views)[number]) => page.locator(`nav a[href="#/${view}"]`).click();
  const ask = (path: string, init: RequestInit = {}) =>
    server.fetch(path, {
      ...init,
      headers: { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json', ...init.headers },
    });
  const makeSession = async (userid: string, about = {}): Promise<string> => {
    const answer = await ask('/sessman/new', {
      method: 'POST',
      body: JSON.stringify({ userid, about, data: {} }),
    });
    return ((await answer.json()) as { session_id: string }).session_id;
  };
  const statusOf = async (session_id: string, userid: string) =>
    (await ask('/sessman/get', { method: 'POST', body: JSON.stringify({ session_id, userid }) })).status;

  describe('at the door', () => {
    it('takes the key, keeps it in the tab alone, and forgets it at the sign-out', async () => {
      const page = await signIn();
      expect(await stored(page)).to.deep.equal({ tab: [KEY], browser: [] });
      await page.reload();
      await page.getByText('Live', { exact: true }).waitFor();
      const other = await page.context().newPage();
      await other.goto(`${server.url}/admin/`);
      await other.getByLabel('Global API key').waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Global API key').waitFor();
      expect(await stored(page)).to.deep.equal({ tab: [], browser: [] });
    });

    it('says that a key is wrong, and takes the right one then', async () => {
      const page = await open();
      for (const wrong of ['not the key', 'κλειδί​']) {
        await page.getByLabel('Global API key').fill(wrong);
        // The form that comes back is another one.
        await page.locator('form').evaluate((form) => form.setAttribute('data-sent', ''));
        await page.getByLabel('Global API key').press('Enter');
        const alert = page.locator('form:not([data-sent])').getByRole('alert');
        expect(await alert.innerText()).to.equal('The server does not accept this key.');
        expect(await stored(page)).to.deep.equal({ tab: [], browser: [] });
      }
      await page.getByLabel('Global API key').fill(KEY);
      await page.getByLabel('Global API key').press('Enter');
      await page.getByText('Live', { exact: true }).waitFor();
    });

    it('says what to write into the INI file when the server has no key', async () => {
      const keyless = await startServer();
      const page = await open({}, keyless.url);
      const lines = await page.locator('pre').innerText();
      const faults = await audit(page);
      await page.close();
      await keyless.close();
      expect(lines).to.match(/^\[auth\]\napikey=[\w-]{32}$/);
      expect(faults).to.deep.equal([]);
    });
  });

  it('plots what happens as it happens', async () => {
    const page = await signIn();
    for (const title of ['Requests', 'Latency', 'Errors', 'Sessions', 'Event loop', 'CPU', 'Memory']) {
      await page
        .locator('.plot', { has: page.getByRole('heading', { name: title }) })
        .locator('canvas')
        .waitFor();
    }
    const requestsNow = page.locator('.plot').first().locator('dd');
    await requestsNow.filter({ hasText: /[1-9]/ }).waitFor();
    expect(await requestsNow.innerText()).to.match(/^[\d.,]+\/s$/);
    const row = page.getByRole('row', { name: /^shaky/ }).waitFor();
    await ask('/shaky');
    await row;
    await page.getByRole('button', { name: '1 min' }).click();
    expect(await page.getByRole('button', { name: '1 min' }).getAttribute('aria-pressed')).to.equal('true');
  });

  it('shows the plugins with their masked configuration', async () => {
    const page = await signIn();
    await show(page, 'plugins');
    const item = page.locator('.plugins > li', { has: page.getByRole('heading', { name: 'shaky' }) });
    expect(await item.locator('.chip').innerText()).to.equal('ready');
    await item.locator('summary').click();
    expect(await item.locator('summary').innerText()).to.match(/plugin-server\.ini:\d+:1/);
    expect(await item.locator('tr').allInnerTexts()).to.deep.equal(['greeting\thi', 'password\t***']);
    expect(await page.content()).to.not.contain('hush');
  });

  it('ends a session, and its client sees it gone', async () => {
    const [one, two] = [await makeSession('ada'), await makeSession('ada', { device: '<b>phone</b>' })];
    const page = await signIn();
    await show(page, 'sessions');
    await page.getByLabel('User id').fill('ada');
    await page.getByLabel('User id').press('Enter');
    await page.getByText('device: <b>phone</b>').waitFor();
    await page.getByRole('button', { name: `End session ${one.slice(0, 16)}` }).click();
    await page.getByText('Session ended.').waitFor();
    expect(await page.locator('.sessions tbody tr').count()).to.equal(1);
    expect([await statusOf(one, 'ada'), await statusOf(two, 'ada')]).to.deep.equal([404, 200]);
    const html = await page.content();
    expect(html).to.contain(two.slice(0, 16)).and.not.contain(two.slice(16));
    await page.getByRole('button', { name: 'End all' }).click();
    await page.getByRole('button', { name: 'Yes, end it' }).click();
    await page.getByText('1 session ended.').waitFor();
    expect(await statusOf(two, 'ada')).to.equal(404);
  });

  it('shows what went wrong, by request id', async () => {
    const page = await signIn();
    await show(page, 'problems');
    await ask('/shaky/throw', { headers: { 'X-Request-Id': 'flood-1' } });
    const problem = page.locator('.problems li', { hasText: 'the cellar is flooded' });
    await problem.waitFor();
    expect(await problem.innerText())
      .to.contain('GET /shaky/throw')
      .and.to.match(/plugins\/shaky\.mjs:7:\d+/)
      .and.to.contain('flood-1');
    await page.getByRole('searchbox').fill('flood-1');
    expect(await page.locator('.problems li').count()).to.equal(1);
    await page.getByRole('searchbox').fill('no such id');
    await page.getByText('No problem matches').waitFor();
  });

  it('shows why a reload failed, and goes on when it has succeeded', async () => {
    const page = await signIn();
    await show(page, 'plugins');
    const before = await page.getByText(/^Up/).innerText();
    expect(before).to.contain('since the start or last reload');
    await server.write('plugin-server.ini', `${ini}\nshaky2=a=1\n[network]\nport=int:many\n`);
    await page.getByRole('button', { name: 'Reload' }).click();
    const outcome = page.locator('.outcome');
    await outcome.getByText('plugin-server.ini:7:10').waitFor();
    expect(await outcome.innerText())
      .to.contain('Not reloaded')
      .and.to.contain('The server continues unchanged.');
    expect(await outcome.locator('pre').first().innerText()).to.contain('=');
    expect(await outcome.locator('mark').allInnerTexts()).to.include('many');
    expect((await ask('/shaky')).status).to.equal(200);
    await show(page, 'problems');
    await page.locator('.problems li', { hasText: 'port=int:many' }).waitFor();
    await show(page, 'overview');
    const panel = (title: string) =>
      page.locator('.panel', { has: page.getByRole('heading', { name: title, exact: true }) });
    await panel('Last reload')
      .getByText(/^plugin-server\.ini:\d+:\d+$/)
      .waitFor();
    expect(await panel('Last reload').innerText()).to.match(/^Last reload\s+failed[\s\S]+by an HTTP request/);
    const worker = await panel('Workers').locator('tbody tr').innerText();
    expect(worker).to.match(/^\d+\tserving\t1\t\d+$/);

    await server.write(
      'plugin-server.ini',
      `${ini.replace('greeting=hi', 'greeting=hello')}\n[network]\nport=int:0\n`,
    );
    await show(page, 'plugins');
    await page.getByRole('button', { name: 'Reload' }).click();
    await page.getByText(/^Reloaded in/).waitFor();
    // The old stream has ended; the page follows the new generation by itself.
    const item = page.locator('.plugins > li', { has: page.getByRole('heading', { name: 'shaky' }) });
    await item.locator('summary').click();
    await item.locator('td', { hasText: 'hello' }).waitFor();
    await show(page, 'overview');
    await panel('Last reload').getByText('ok', { exact: true }).waitFor();
    await panel('Workers')
      .getByRole('row', { name: /serving 3 \d+$/ })
      .waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(complaints).to.deep.equal([]);
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`has no serious fault of accessibility in ${colorScheme} colours`, async () => {
      await ask('/shaky/throw');
      await makeSession('grace');
      const page = await open({ colorScheme, reducedMotion: 'reduce' });
      await page.getByLabel('Global API key').waitFor();
      expect(await audit(page), 'sign-in').to.deep.equal([]);
      await page.getByLabel('Global API key').fill(KEY);
      await page.getByLabel('Global API key').press('Enter');
      for (const view of views) {
        await show(page, view);
        if (view === 'sessions') {
          await page.getByLabel('User id').fill('grace');
          await page.getByLabel('User id').press('Enter');
          await page.locator('.sessions').waitFor();
        }
        if (view === 'problems') await page.locator('.problems li').first().waitFor();
        expect(await audit(page), view).to.deep.equal([]);
      }
    });
  }

  it('is used with the keyboard alone', async () => {
    const page = await open();
    await page.getByLabel('Global API key').waitFor();
    await page.keyboard.type(KEY);
    await page.keyboard.press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    await page.keyboard.press('Tab');
    expect(await focused(page)).to.equal('Skip to content');
    for (const name of ['Overview', 'Plugins']) {
      await page.keyboard.press('Tab');
      expect(await focused(page)).to.equal(name);
    }
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Plugins', level: 1 }).waitFor();
    expect(await page.title()).to.equal('Plugins · plugin-server');
    expect(await focused(page)).to.equal('Plugins');
    await page.keyboard.press('Tab');
    expect(await focused(page)).to.equal('Reload');
  });

  it('fits on a phone', async () => {
    const page = await signIn({ viewport: { width: 390, height: 844 } });
    for (const view of views) {
      await show(page, view);
      await page.getByRole('heading', { level: 1, name: new RegExp(view, 'i') }).waitFor();
      const width = await page.evaluate('document.documentElement.scrollWidth');
      expect(width, view).to.be.at.most(390);
    }
  });

  it('follows the system in light and dark until the reader chooses', async () => {
    const page = await signIn({ colorScheme: 'dark' });
    const theme = () => page.evaluate('document.documentElement.dataset.theme');
    expect(await theme()).to.equal('dark');
    await page.getByRole('button', { name: 'Light' }).click();
    expect(await theme()).to.equal('light');
    await page.reload();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await theme()).to.equal('light');
  });

  it('comes back by itself after its server was away', async () => {
    const own = await ServerProcess.start({ ini, files: { 'plugins/shaky.mjs': shaky } });
    const port = new URL(own.url).port;
    const page = await open({}, own.url);
    await page.getByLabel('Global API key').fill(KEY);
    await page.getByLabel('Global API key').press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    own.signal('SIGTERM');
    await own.exited;
    await page.getByText('Connection lost, reconnecting…').waitFor();
    const again = await ServerProcess.start({
      folder: own.folder,
      ini: `${ini}\n[network]\nport=int:${port}\n`,
      exactIni: true,
    });
    await page.getByText('Live', { exact: true }).waitFor();
    await page.close();
    await again.close();
  });

  it('asks no other host for anything, and breaks no rule of its own policy', async () => {
    const page = await signIn();
    for (const view of views) await show(page, view);
    await page.getByRole('heading', { name: 'Problems', level: 1 }).waitFor();
    expect(requests.filter((url) => !url.startsWith(`${server.url}/`))).to.deep.equal([]);
    expect(requests.filter((url) => url.includes(KEY))).to.deep.equal([]);
    expect(complaints).to.deep.equal([]);
  });
});

/** What the page has put away, in the tab and in the browser. */
function stored(page: Page) {
  return page.evaluate('({ tab: Object.values(sessionStorage), browser: Object.values(localStorage) })');
}

function focused(page: Page): Promise<unknown> {
  return page.evaluate(String.raw`document.activeElement.textContent.replace(/\d+$/, '')`);
}

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** The serious and critical faults that axe-core finds, by rule and element. */
async function audit(page: Page): Promise<readonly string[]> {
  await page.evaluate(await readFile(axe, 'utf8'));
  const { violations } = (await page.evaluate('axe.run()')) as {
    violations: { id: string; impact: string; nodes: { target: string[] }[] }[];
  };
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}
