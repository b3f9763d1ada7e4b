import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, needsBrowser } from '../../../support/browser.js';
import { startServer, type TestServer } from '../../../support/server.js';

const KEY = 'the key of the test';

describe('the client class in a browser, on a page of another origin', () => {
  let server: TestServer;
  let allowed: Server;
  let other: Server;
  let browser: Browser;
  let page: Page;
  before(async function () {
    needsBrowser(this);
    [allowed, other] = [await startPage(), await startPage()];
    const ini = `[auth]\napikey=${KEY}\n[cors]\nenabled=bool:on\norigin_url=list:${originOf(allowed)}\n`;
    server = await startServer({ ini });
    browser = await launchBrowser();
    page = await browser.newPage();
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    allowed?.close();
    other?.close();
  });

  it('does all its calls, its session id in no URL', async () => {
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    await page.goto(originOf(allowed));
    const seen = await page.evaluate(
      async ({ module, auth }) => {
        const { Session } = await import(module);
        const session = await Session.create('mary', { auth, data: { n: 0 } });
        const ids = [session.session_id];
        session.data.n = 1;
        await session.updateSession();
        await Promise.all(
          [1, 2, 3, 4, 5].map(async () => {
            const again = await Session.open('mary', session.session_id, { auth });
            await again.change((data: { n: number }) => {
              data.n += 1;
            });
          }),
        );
        const stale = await session.updateSession().catch((error: unknown) => error);
        await session.get();
        await session.patch({ m: 'ü' });
        await session.renew();
        ids.push(session.session_id);
        await session.touch();
        await session.end();
        const ended = await session.get().catch((error: unknown) => error);
        return {
          ids,
          data: session.data,
          version: session.version,
          stale: { ...stale, name: stale.name },
          ended: { code: ended.code, status: ended.status },
          base_url: session.base_url,
        };
      },
      { module: `${server.url}/sessman/client.js`, auth: KEY },
    );
    expect(seen.data).to.deep.equal({ n: 6, m: 'ü' });
    expect(seen.version).to.equal(8);
    expect(seen.stale).to.include({
      name: 'SessionError',
      code: 'version_mismatch',
      status: 412,
      version: 7,
    });
    expect(seen.ended).to.deep.equal({ code: 'session_not_found', status: 404 });
    expect(seen.base_url).to.equal(`${server.url}/sessman`);
    expect(urls).to.include(`${server.url}/sessman/update`);
    for (const hidden of [...seen.ids, KEY, 'mary']) expect(urls.join()).not.to.include(hidden);
  });

  it('is kept from pages whose origin is not allowed', async () => {
    await page.goto(originOf(other));
    const loaded = await page.evaluate(
      (module) =>
        import(module).then(
          () => true,
          () => false,
        ),
      `${server.url}/sessman/client.js`,
    );
    expect(loaded).to.equal(false);
  });
});

async function startPage(): Promise<Server> {
  const server = createServer((_request, response) => {
    response
      .setHeader('Content-Type', 'text/html')
      .end('<!doctype html><link rel="icon" href="data:,"><title>Page</title>');
  }).listen(0, 'localhost');
  await once(server, 'listening');
  return server;
}

function originOf(server: Server): string {
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}
