import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser, needsBrowser } from '../../support/browser.js';
import { makeCertificate } from '../../support/certificates.js';
import { freePort } from '../../support/mongodb/process.js';
import { ServerProcess } from '../../support/process.js';
import { readSteps } from '../../support/walkthrough.js';
import { apiKey, backends } from './support/api.js';

const names = ['shop.example', 'app.shop.example', 'sub.shop.example', 'evil.example'];

for (const { name, settings } of backends) {
  describe(`sessions in a browser, on the ${name} store`, function () {
    this.timeout(60_000);
    let server: ServerProcess;
    let others: Server;
    let browser: Browser;
    let context: BrowserContext;
    let shop: string;
    let origin: (host: string) => string;

    before(async function () {
      needsBrowser(this);
      const { cert, key } = await makeCertificate();
      // Every other origin: what a page does there, its test says.
      others = createServer({ cert, key }, (_request, response) => {
        response
          .setHeader('Content-Type', 'text/html')
          .end('<!doctype html><link rel="icon" href="data:,"><title>Elsewhere</title>');
      }).listen(0, '127.0.0.1');
      await once(others, 'listening');
      origin = (host) => `https://${host}:${(others.address() as AddressInfo).port}`;
      const steps = await readSteps('docs/sessman.md');
      const account = steps.find((step) => step.kind === 'file' && step.path === 'plugins/account.js');
      expect(account, 'the example in docs/sessman.md').to.include({ kind: 'file' });
      const port = await freePort();
      server = await ServerProcess.start({
        exactIni: true,
        ini: `[paths]\npidfile=server.pid\n[network]\nport=int:${port}\nworkers=int:2\nhosts=list:shop.example\n[ssl]\nenabled=bool:on\ncertfile=cert.pem\nkeyfile=key.pem\n[auth]\napikey=${apiKey}\n[plugin_parms]\nsessman=json=sessman.json\n`,
        files: {
          'cert.pem': cert,
          'key.pem': key,
          'plugins/account.js': (account as { text: string }).text,
          'sessman.json': JSON.stringify({
            ...(await settings()),
            cookie: true,
            cookie_data: 'write',
            cookie_origins: [origin('app.shop.example')],
          }),
        },
      });
      shop = `https://shop.example:${port}`;
      browser = await launchBrowser(
        [`--host-resolver-rules=${names.map((host) => `MAP ${host} 127.0.0.1`).join(', ')}`],
        ['--disable-back-forward-cache'],
      );
    });
    after(async () => {
      await browser?.close();
      await server?.close();
      others?.closeAllConnections();
      others?.close();
    });
    beforeEach(async () => {
      context = await browser.newContext({ ignoreHTTPSErrors: true });
    });
    afterEach(() => context?.close());

    const login = async (user = 'ann', password = 'correct horse'): Promise<Page> => {
      const page = await context.newPage();
      await page.goto(`${shop}/account`);
      if ((await page.locator('form[action="/account/login"]').count()) === 0) {
        await page.getByRole('button', { name: 'Log out', exact: true }).click();
      }
      await page.locator('input[name=user]').fill(user);
      await page.locator('input[name=password]').fill(password);
      await page.locator('input[name=remember]').check();
      await page.getByRole('button', { name: 'Log in' }).click();
      await page.locator('h1').waitFor();
      return page;
    };
    /** Opens the account page afresh in each tab, and resolves when all have asked for their event stream. */
    const watching = async (...tabs: Page[]): Promise<void> => {
      // The page before may still ask for its own.
      for (const tab of tabs) await tab.goto('about:blank');
      await Promise.all(
        tabs.map((tab) =>
          Promise.all([tab.waitForRequest(`${shop}/sessman/watch`), tab.goto(`${shop}/account`)]),
        ),
      );
    };
    /**
     * Keeps pages from hearing of the end of their session. They would reload, perhaps between the end and the response to the
     * logout, and show the login page before that has come.
     */
    const deafen = () =>
      context.addInitScript(`const { fetch } = window;
        window.fetch = (url, init) => (url.endsWith('/sessman/watch') ? new Promise(() => {}) : fetch(url, init));`);
    const cookie = async () => (await context.cookies(shop)).find((each) => each.name === '__Host-PS_SESSID');
    const isLoggedIn = async (): Promise<boolean> => {
      const page = await context.newPage();
      await page.goto(`${shop}/account`);
      return (await page.locator('h1').count()) === 1;
    };

    it('a login by a plugin sets a cookie that no script reads', async () => {
      const page = await login();
      expect(await page.locator('h1').textContent()).to.equal('ann');
      expect(await cookie()).to.include({ httpOnly: true, secure: true, sameSite: 'Lax', path: '/' });
      expect(await page.evaluate('document.cookie')).to.equal('');
      const seen = await page.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        const session = await Session.current();
        const text = await (await fetch('/sessman/get')).text();
        return { user: session.user, id: session.session_id, handle: session.handle, text };
      });
      const { value } = (await cookie())!;
      expect(seen).to.include({ user: 'ann', id: undefined, handle: value.slice(0, 16) });
      expect(seen.text).not.to.include(value.slice(16));
    });

    it('a page with a key and a cookie makes a session that is the cookie of the browser from then on', async () => {
      const page = await login();
      const seen = await page.evaluate(async (auth) => {
        const { Session } = await import('/sessman/client.js' as string);
        const session = await Session.create('eve', { auth, data: { n: 1 } });
        await session.touch();
        const { user } = await Session.current();
        return { user, id: session.session_id, data: session.data };
      }, apiKey);
      expect(seen).to.deep.equal({ user: 'eve', id: undefined, data: { n: 1 } });
    });

    it('two tabs that save at once lose nothing', async () => {
      const tabs = [await login(), await context.newPage()];
      await tabs[1]!.goto(`${shop}/account`);
      await Promise.all(
        tabs.map((tab, i) =>
          tab.evaluate(async (which) => {
            const { Session } = await import('/sessman/client.js' as string);
            const session = await Session.current();
            for (let n = 0; n < 10; n++) {
              await session.change((data: Record<string, number>) => {
                data[`tab${which}`] = n + 1;
                data.sum = (data.sum ?? 0) + 1;
              });
            }
          }, i),
        ),
      );
      const data = await tabs[0]!.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        return (await Session.current()).data;
      });
      expect(data).to.deep.equal({ tab0: 10, tab1: 10, sum: 20 });
    });

    it('a tab of the session before changes nothing of the one that another tab has logged in', async () => {
      await login();
      const first = await context.newPage();
      // A page that does not watch: the account page would reload itself.
      await first.goto(`${shop}/sessman/get`);
      await first.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        Object.assign(globalThis, { session: await Session.current() });
      });
      await login('ben', 'battery staple');
      const code = await first.evaluate(async () => {
        const { session } = globalThis as unknown as { session: { patch(data: object): Promise<unknown> } };
        return session.patch({ seen: true }).then(
          () => 'written',
          (error: { code: string }) => error.code,
        );
      });
      expect(code).to.equal('session_not_found');
      const page = await context.newPage();
      await page.goto(`${shop}/account`);
      const data = await page.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        const { user, data } = await Session.current();
        return { user, data };
      });
      expect(data).to.deep.equal({ user: 'ben', data: {} });
    });

    it('a frame on a page of another site shows nothing of the account', async () => {
      await login();
      const page = await context.newPage();
      await page.goto(origin('evil.example'));
      await page.evaluate(`new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.src = ${JSON.stringify(`${shop}/account`)};
        frame.addEventListener('load', resolve);
        document.body.append(frame);
      })`);
      const frame = page.frames()[1]!;
      expect(await frame.locator('body').innerText()).not.to.match(/ann|Log in/);
      expect(await isLoggedIn()).to.equal(true);
    });

    for (const host of ['evil.example', 'sub.shop.example']) {
      it(`a form on ${host} logs nobody in or out`, async () => {
        await login();
        const before = await cookie();
        const page = await context.newPage();
        for (const [path, fields] of <[string, Record<string, string>][]>[
          ['/account/logout', {}],
          ['/account/everywhere', {}],
          ['/account/end', { handle: before!.value.slice(0, 16) }],
          ['/account/login', { user: 'ben', password: 'battery staple' }],
          ['/sessman/end', {}],
          ['/sessman/end_all', {}],
        ]) {
          await page.goto(origin(host));
          const answered = page.waitForResponse(`${shop}${path}`);
          await page.evaluate(`{
            const form = document.createElement('form');
            Object.assign(form, { method: 'post', action: ${JSON.stringify(shop + path)} });
            for (const [name, value] of Object.entries(${JSON.stringify(fields)})) {
              form.append(Object.assign(document.createElement('input'), { name, value }));
            }
            document.body.append(form);
            form.submit();
          }`);
          expect((await answered).status(), path).to.equal(403);
          await page.waitForURL(shop + path);
        }
        expect(await cookie()).to.deep.equal(before);
        expect(await isLoggedIn()).to.equal(true);
      });

      it(`a script on ${host} reads and changes nothing`, async () => {
        await login();
        const page = await context.newPage();
        await page.goto(origin(host));
        const outcome = await page.evaluate(async (base) => {
          const ask = (path: string, method: string) =>
            fetch(base + path, { method, credentials: 'include' }).then(
              (response) => `read ${response.status}`,
              () => 'blocked',
            );
          return [
            await ask('/sessman/get', 'GET'),
            await ask('/sessman/list', 'POST'),
            await ask('/sessman/end', 'POST'),
            await ask('/sessman/end_all', 'POST'),
          ];
        }, shop);
        expect(outcome).to.deep.equal(['blocked', 'blocked', 'blocked', 'blocked']);
        expect(await isLoggedIn()).to.equal(true);
      });
    }

    it('a subdomain cannot plant a cookie of the name', async () => {
      await login();
      const before = await cookie();
      const page = await context.newPage();
      await page.goto(origin('sub.shop.example'));
      await page.evaluate(`for (const name of ['__Host-PS_SESSID', 'PS_SESSID', '__Secure-PS_SESSID'])
        document.cookie = name + '=${'A'.repeat(43)}; Domain=shop.example; Path=/; Secure';`);
      expect(await cookie()).to.deep.equal(before);
      expect(await isLoggedIn()).to.equal(true);
    });

    it('a page of cookie_origins calls with the cookie', async () => {
      await login();
      const page = await context.newPage();
      await page.goto(origin('app.shop.example'));
      const seen = await page.evaluate(async (base) => {
        const { Session } = await import(`${base}/sessman/client.js`);
        const session = await Session.current();
        await session.patch({ theme: 'dark' });
        const etag = (await fetch(`${base}/sessman/get`, { credentials: 'include' })).headers.get('ETag');
        return { user: session.user, data: session.data, etag };
      }, shop);
      expect(seen).to.deep.equal({ user: 'ann', data: { theme: 'dark' }, etag: '"2"' });
    });

    it('back and forward show nothing of who has logged out', async () => {
      await deafen();
      const page = await login();
      await page.goto(`${origin('app.shop.example')}/`);
      await page.goBack({ waitUntil: 'commit' });
      expect(await page.locator('h1').textContent()).to.equal('ann');
      await page.getByRole('button', { name: 'Log out', exact: true }).click();
      await page.getByRole('button', { name: 'Log in' }).waitFor();
      expect(await cookie()).to.equal(undefined);
      await page.goBack({ waitUntil: 'commit' });
      await page.getByRole('button', { name: 'Log in' }).waitFor();
      expect(await page.locator('h1').count()).to.equal(0);
      await page.goForward({ waitUntil: 'commit' });
      await page.getByRole('button', { name: 'Log in' }).waitFor();
      expect(await page.locator('h1').count()).to.equal(0);
    });

    it('every tab notices a logout elsewhere, and all tabs share one stream', async () => {
      const first = await login();
      const second = await context.newPage();
      await watching(first);
      const more: string[] = [];
      for (const page of [first, second])
        page.on('request', (request) => request.url().endsWith('/sessman/watch') && more.push(request.url()));
      await second.goto(`${shop}/account`);
      const events = second.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        const session = await Session.current();
        const seen: string[] = [];
        return new Promise((resolve) => {
          session.watch((event: { type: string; version?: number }) => {
            seen.push(event.type);
            // The state comes from the tab that holds the stream; then this tab changes the session itself.
            if (seen.length === 1) session.patch({ seen: true });
            if (event.version === 2) resolve(seen);
          });
        });
      });
      expect(new Set((await events) as string[])).to.deep.equal(new Set(['session']));
      expect(more).to.deep.equal([]);
      const phone = await browser.newContext({ ignoreHTTPSErrors: true });
      const laptop = context;
      context = phone;
      const there = await login();
      context = laptop;
      await there.getByRole('button', { name: 'Log out everywhere' }).click();
      for (const page of [first, second]) await page.getByRole('button', { name: 'Log in' }).waitFor();
      await phone.close();
    });

    it('each tab has its own stream where the browser has no locks', async () => {
      await context.addInitScript('delete Navigator.prototype.locks');
      const tabs = [await login(), await context.newPage()];
      await watching(...tabs);
      const third = await context.newPage();
      await third.goto(`${shop}/account`);
      await third.getByRole('button', { name: 'Log out everywhere' }).click();
      for (const tab of tabs) await tab.getByRole('button', { name: 'Log in' }).waitFor();
    });

    it('goes on watching over a renewal, a reload and a killed worker', async () => {
      const page = await login();
      const other = await context.newPage();
      await other.goto(`${shop}/account`);
      await page.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        const session = await Session.current();
        const versions: number[] = [];
        Object.assign(globalThis, { versions, session });
        // The shortest pauses that a page makes by itself.
        Math.random = () => 0;
        session.watch((event: { type: string; version?: number }) => versions.push(event.version ?? -1));
      });
      /** Changes the session in the other tab, and waits until this one has heard of it. */
      const change = async () => {
        const version = await other.evaluate(async () => {
          const { Session } = await import('/sessman/client.js' as string);
          for (;;) {
            try {
              return (await (await Session.current()).patch({ at: Math.random() })).version as number;
            } catch (error) {
              // The worker in the place of a killed one may be too busy for a moment.
              if (!/^(?:network_error|overloaded)$/.test((error as { code: string }).code)) throw error;
            }
          }
        });
        await page.waitForFunction(`versions.includes(${version})`);
      };
      await change();
      await other.evaluate(async () => {
        const { Session } = await import('/sessman/client.js' as string);
        await (await Session.current()).renew();
      });
      await change();
      expect((await server.command('reload')).status).to.equal(0);
      await change();
      for (const pid of server.workers()) process.kill(pid, 'SIGKILL');
      await change();
      expect(await page.evaluate('versions.includes(-1)')).to.equal(false);
    });

    it('a page from the back-forward cache reads the session before it goes on watching', async () => {
      const account = await login();
      const page = await context.newPage();
      const watching = origin('app.shop.example');
      await page.goto(watching);
      await page.evaluate(async (base) => {
        const events: string[] = [];
        Object.assign(globalThis, { events, restored: 0 });
        const { Session } = await import(`${base}/sessman/client.js`);
        (await Session.current()).watch((event: { type: string; reason?: string }) =>
          events.push(event.reason ?? event.type),
        );
      }, shop);
      await page.evaluate("addEventListener('pageshow', () => { globalThis.restored = 1; })");
      await page.waitForFunction('events.length === 1');
      for (const expected of [
        ['session', 'session'],
        ['session', 'session', 'gone'],
      ]) {
        await page.goto(origin('sub.shop.example'));
        if (expected.length === 3) {
          await account.getByRole('button', { name: 'Log out', exact: true }).click();
          await account.getByRole('button', { name: 'Log in' }).waitFor();
        }
        await page.evaluate('history.back()');
        await page.waitForFunction(`globalThis.restored === 1 && events.length === ${expected.length}`);
        expect(await page.evaluate('[location.href, events]')).to.deep.equal([`${watching}/`, expected]);
        await page.evaluate('globalThis.restored = 0');
      }
    });

    it('log out everywhere ends the sessions of every browser', async () => {
      await deafen();
      const page = await login();
      const phone = await browser.newContext({ ignoreHTTPSErrors: true });
      const other = context;
      context = phone;
      await login();
      context = other;
      expect(await page.reload().then(() => page.locator('li').count())).to.be.at.least(2);
      await page.getByRole('button', { name: 'Log out everywhere' }).click();
      await page.getByRole('button', { name: 'Log in' }).waitFor();
      const there = await phone.newPage();
      await there.goto(`${shop}/account`);
      expect(await there.locator('h1').count()).to.equal(0);
      await phone.close();
    });
  });
}
