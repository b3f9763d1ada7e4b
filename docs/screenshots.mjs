// Takes the pictures of the admin page for docs/images/: `npm run screenshots`. It starts the server with a small shop
// of a plugin, lets clients visit it for a minute, and looks at each view.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from '../dist/test/support/browser.js';

const KEY = 'a-key-for-pictures';
/** Milliseconds of visits before the first picture. */
const VISITS = 65_000;
const images = fileURLToPath(new URL('images/', import.meta.url));
const cli = fileURLToPath(new URL('../dist/bundle/cli.js', import.meta.url));

const ini = `[network]
port=int:0
workers=int:2
[auth]
apikey=${KEY}
[plugin_parms]
shop=json=shop.json
sessman=session_ttl=int:7200
`;
const brokenIni = `${ini.replace('session_ttl=int:7200', 'session_tll=int:7200')}systeminf=interval=3
`;
const shopJson = '{ "currency": "EUR", "suppliers": ["north", "south"], "payment_token": "a secret" }';
const shop = `import { definePlugin, HttpError, z } from 'plugin-server';

export default definePlugin({
  config: z.looseObject({ currency: z.string() }),
  setup({ config, router }) {
    router.get('/items', (ctx) => {
      ctx.body = { currency: config.currency, items: [] };
    });
    router.get('/items/:id', async (ctx) => {
      const id = Number(ctx.params.id);
      if (id > 990) throw new HttpError(503, 'supplier_away', 'The supplier "south" cannot be reached.');
      if (id > 985) ctx.body = { price: ctx.state.prices[id] };
      else {
        await new Promise((resolve) => setTimeout(resolve, (id % 20) + 1));
        ctx.body = { id };
      }
    });
  },
});
`;

/** What is to be seen in each view. */
const prepare = {
  async overview(page) {
    await page.getByRole('button', { name: '1 min' }).click();
    await page.locator('.plot canvas').first().waitFor();
    await page.getByRole('row', { name: /^shop/ }).waitFor();
  },
  async plugins(page) {
    await page
      .locator('li', { has: page.getByRole('heading', { name: 'shop' }) })
      .locator('summary')
      .click();
    await write('plugin-server.ini', brokenIni);
    await page.getByRole('button', { name: 'Reload' }).click();
    await page.locator('.outcome').waitFor();
    await write('plugin-server.ini', ini);
  },
  async sessions(page) {
    await page.getByLabel('User id').fill('ada');
    await page.keyboard.press('Enter');
    await page.locator('.sessions').waitFor();
  },
  async problems(page) {
    await page.locator('.problems li').first().waitFor();
  },
};

const folder = await mkdtemp(join(tmpdir(), 'plugin-server-pictures-'));
const write = (path, text) => writeFile(join(folder, path), text);
await mkdir(join(folder, 'plugins/shop'), { recursive: true });
await write('plugins/shop/index.ts', shop);
await write('plugins/shop/package.json', '{ "name": "shop", "version": "2.4.1", "type": "module" }');
await write('shop.json', shopJson);
await write('plugin-server.ini', ini);

const server = spawn(process.execPath, [cli, 'start'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await launchBrowser();
try {
  const url = await new Promise((resolve, reject) => {
    server.once('exit', () => reject(new Error('the server did not start')));
    createInterface({ input: server.stdout }).on('line', (line) => {
      const { msg = '', url } = JSON.parse(line);
      if (msg.startsWith('serving on ')) resolve(url);
    });
  });
  // So that the last reload is to be seen.
  await fetch(`${url}/reload/all`, { method: 'POST', headers: { Authorization: `Bearer ${KEY}` } });
  const over = new AbortController();
  const visitors = Promise.all(Array.from({ length: 5 }, () => visit(url, over.signal)));
  await sleep(VISITS);
  await mkdir(images, { recursive: true });
  await shoot(url, { colorScheme: 'light', width: 1440, views: ['overview', 'plugins', 'sessions'] });
  await shoot(url, { colorScheme: 'dark', width: 1440, views: ['overview', 'problems'] });
  await shoot(url, { colorScheme: 'light', width: 390, views: ['overview'] });
  over.abort();
  await visitors;
} finally {
  await browser.close();
  server.kill('SIGTERM');
  await once(server, 'exit');
  await rm(folder, { recursive: true, force: true });
}

/** One client after the other, in waves. */
async function visit(url, signal) {
  const ask = async (path, body) => {
    const answer = await fetch(url + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return answer.json();
  };
  for (let i = 0; !signal.aborted; i += 1) {
    await ask(i % 3 === 0 ? '/shop/items' : `/shop/items/${Math.floor(Math.random() * 1000)}`);
    if (i % 40 === 0) await ask('/shop/basket');
    if (i % 25 === 0) {
      const userid = i % 200 === 0 ? 'ada' : `visitor-${i}`;
      const { session_id } = await ask('/sessman/new', { userid, data: {} });
      if (i % 50 === 0 && userid !== 'ada') await ask('/sessman/end', { session_id });
    }
    await sleep(8 + 14 * (1 + Math.sin(Date.now() / 7000)));
  }
}

async function shoot(url, { colorScheme, width, views }) {
  const context = await browser.newContext({
    viewport: { width, height: width < 500 ? 844 : 900 },
    colorScheme,
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  await page.goto(`${url}/admin`);
  await page.getByLabel('Global API key').fill(KEY);
  await page.keyboard.press('Enter');
  for (const view of views) {
    await page.locator(`nav a[href="#/${view}"]`).click();
    await prepare[view](page);
    // Where the pointer is, the plots show that moment.
    await page.mouse.move(1, 1);
    const fullPage = view === 'overview' && width > 500;
    await page.screenshot({ path: join(images, `admin-${view}-${colorScheme}-${width}.png`), fullPage });
  }
  await context.close();
}
