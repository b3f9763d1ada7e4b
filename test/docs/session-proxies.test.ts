import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type MongoServer, startMongo } from '../support/mongodb.js';
import { ServerProcess } from '../support/process.js';
import { caddy, nginx, RunningProxy, replaced } from '../support/proxy.js';

const key = 'the-global-key-of-this-test';

/** The login page: whoever says a name is that user. */
const login = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  auth: 'own',
  after: ['sessman'],
  setup({ router, plugin }) {
    const sessions = plugin('sessman');
    router.get('/', (ctx) => { ctx.body = { pid: process.pid }; });
    router.post('/', async (ctx) => {
      await sessions.login(ctx, ctx.request.body.user);
      ctx.body = { ok: true };
    });
  },
});`;

/** The documented file, and its addresses of the server and of the application. */
const proxies = [
  {
    program: nginx,
    page: 'sessions-nginx.conf',
    addresses: ['server 127.0.0.1:6123;', 'server 127.0.0.1:3000;'],
  },
  { program: caddy, page: 'sessions.Caddyfile', addresses: ['127.0.0.1:6123', '127.0.0.1:3000'] },
] as const;

for (const { program, page, addresses } of proxies) {
  describe(`sessions behind ${program.name}, as documented in docs/${page}`, function () {
    this.timeout(120_000);
    let mongo: MongoServer;
    let server: ServerProcess;
    let application: Server;
    let proxy: RunningProxy;
    let port: number;

    before(async function () {
      if (!program.available) this.skip();
      mongo = await startMongo();
      const { host, user, password, database } = await mongo.createDatabase();
      const settings = { cookie: true, server_url: host, username: user, password, database };
      server = await ServerProcess.start({
        ini: `[network]\nproxy=bool:true\nhosts=example.com\nworkers=int:2\n[paths]\npidfile=server.pid\n[auth]\napikey=${key}\n[plugin_parms]\nsessman=json=sessman.json\n`,
        files: { 'sessman.json': JSON.stringify(settings), 'plugins/login.js': login },
      });
      application = createServer((incoming, answer) => {
        answer.setHeader('Content-Type', 'application/json');
        answer.end(JSON.stringify({ path: incoming.url, headers: incoming.headers }));
      }).listen(0, '127.0.0.1');
      await once(application, 'listening');
      const documented = fileURLToPath(new URL(`../../../docs/${page}`, import.meta.url));
      const [ofServer, ofApplication] = addresses;
      const text = replaced(await readFile(documented, 'utf8'), {
        [ofServer]: ofServer.replace('127.0.0.1:6123', new URL(server.url).host),
        [ofApplication]: ofApplication.replace('3000', `${(application.address() as AddressInfo).port}`),
      });
      proxy = await RunningProxy.start(program, text);
      port = proxy.port;
    });

    after(async () => {
      await proxy?.close();
      application?.closeAllConnections();
      application?.close();
      mongo?.thaw();
      await server?.close();
      await mongo?.stop();
    });

    const ask = (path: string, options: AskOptions = {}) => askOver(port, path, options);
    const enter = async (user: string): Promise<string> => {
      const reply = await ask('/login', { method: 'POST', body: JSON.stringify({ user }) });
      expect(reply.status, reply.text).to.equal(200);
      const [set = ''] = reply.headers['set-cookie'] ?? [];
      expect(set).to.match(
        /^__Host-PS_SESSID=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=\d+$/,
      );
      return set.slice(0, set.indexOf(';'));
    };
    /** What the application saw. */
    const seen = ({ text }: Reply) => JSON.parse(text) as { path: string; headers: IncomingHttpHeaders };

    it('lets in who has logged in, by their name in any script, and nobody else', async () => {
      const stranger = await ask('/app/page?x=1');
      expect([stranger.status, stranger.headers.location]).to.deep.equal([303, '/login']);
      const Cookie = await enter('Zoë Ω/%🐢');
      const reply = await ask('/app/page?x=1', { headers: { Cookie } });
      expect(reply.status, reply.text).to.equal(200);
      const { path, headers } = seen(reply);
      expect(path).to.equal('/app/page?x=1');
      expect(decodeURIComponent(headers['x-session-user'] as string)).to.equal('Zoë Ω/%🐢');
      expect(headers['x-session-handle']).to.equal(Cookie.slice('__Host-PS_SESSID='.length).slice(0, 16));
      expect(headers).not.to.have.any.keys('x-session-expires', 'x-session-problem', 'x-session-id');
    });

    it('passes on a POST with its body, whatever else it claims', async () => {
      const Cookie = await enter('mary');
      const reply = await ask('/app/form', {
        method: 'POST',
        body: 'x'.repeat(10_000),
        headers: {
          Cookie,
          'If-Match': '"1"',
          Range: 'bytes=1-2',
          Authorization: 'Bearer of-the-application',
          Origin: 'https://evil.example',
        },
      });
      expect(reply.status, reply.text).to.equal(200);
      expect(seen(reply).headers).to.include({ 'content-length': '10000', 'x-session-user': 'mary' });
      expect(seen(reply).headers.authorization).to.equal('Bearer of-the-application');
    });

    it('believes nothing that a visitor says of a session, at public paths either', async () => {
      const Cookie = await enter('mary');
      const forged = Object.fromEntries(
        ['User', 'Handle', 'Expires', 'Problem', 'Id'].flatMap((part) => [
          [`X-Session-${part}`, 'root'],
          [`X_Session_${part}`, 'root'],
          [`x_session-${part}`, 'root'],
          [`x-session_${part}`, 'root'],
        ]),
      );
      for (const path of ['/', '/public', '/appendix']) {
        const { headers } = seen(await ask(path, { headers: { ...forged, Cookie } }));
        const left = Object.keys(headers).filter(
          (name) => /^x[-_]session[-_]/i.test(name) && headers[name] !== '',
        );
        expect(left, path).to.deep.equal([]);
      }
      const { headers } = seen(await ask('/app/', { headers: { ...forged, Cookie } }));
      expect(headers['x-session-user']).to.equal('mary');
      expect(JSON.stringify(headers)).not.to.match(/x[_-]session[_-]\w+":"root"/i);
      expect((await ask('/app/', { headers: forged })).status).to.equal(303);
    });

    it('shuts out at once who has logged out, here or everywhere', async () => {
      const [here, there] = [await enter('mary'), await enter('mary')];
      const end = await ask('/sessman/end', {
        method: 'POST',
        headers: { Cookie: here, 'Sec-Fetch-Site': 'same-origin' },
      });
      expect(end.status, end.text).to.equal(200);
      expect((await ask('/app/', { headers: { Cookie: here } })).status).to.equal(303);
      expect((await ask('/app/', { headers: { Cookie: there } })).status).to.equal(200);
      const ended = await ask('/sessman/end_all?userid=mary', {
        method: 'POST',
        headers: { Authorization: `Bearer ${key}` },
      });
      expect(ended.status).to.equal(200);
      expect((await ask('/app/', { headers: { Cookie: there } })).status).to.equal(303);
    });

    it("passes a page's handle on to sessman, which refuses the wrong one, and pages of other origins", async () => {
      const Cookie = await enter('mary');
      const handle = Cookie.slice('__Host-PS_SESSID='.length).slice(0, 16);
      const touch = (headers: Record<string, string>) =>
        ask('/sessman/touch', { method: 'POST', headers: { Cookie, ...headers } });
      expect((await touch({ 'X-Session-Handle': handle, Origin: 'https://example.com' })).status).to.equal(
        200,
      );
      expect((await touch({ 'X-Session-Handle': 'A'.repeat(16) })).status).to.equal(404);
      expect((await touch({ Origin: 'https://evil.example' })).status).to.equal(403);
    });

    it('asks for the password again before a payment', async () => {
      const Cookie = await enter('mary');
      expect((await ask('/app/payment/', { headers: { Cookie } })).status).to.equal(200);
      expect((await ask('/app/payment/')).status).to.equal(303);
    });

    it('takes nobody for another over a killed worker and a reload', async () => {
      const [Cookie, ended] = [await enter('mary'), await enter('ben')];
      await ask('/sessman/end', { method: 'POST', headers: { Cookie: ended } });
      const statuses = { mary: new Set<number>(), ben: new Set<number>() };
      let isOver = false;
      const visit = async () => {
        while (!isOver) {
          statuses.mary.add((await ask('/app/', { headers: { Cookie } })).status);
          statuses.ben.add((await ask('/app/', { headers: { Cookie: ended } })).status);
        }
      };
      const visits = visit();
      /** Until each has come in, or has been sent away, since it was called. */
      const seenAgain = async () => {
        for (const each of Object.values(statuses)) each.clear();
        while (!statuses.mary.has(200) || !statuses.ben.has(303)) await ask('/public');
      };
      try {
        await seenAgain();
        const { pid } = JSON.parse((await ask('/login')).text) as { pid: number };
        const lost = server.next('a worker was lost (SIGKILL)');
        process.kill(pid, 'SIGKILL');
        await lost;
        // A request that the killed worker had fails, and its visitor is taken for neither.
        expect([...statuses.mary]).to.satisfy((all: number[]) =>
          all.every((each) => [200, 502, 503].includes(each)),
        );
        expect([...statuses.ben]).to.satisfy((all: number[]) =>
          all.every((each) => [303, 502, 503].includes(each)),
        );
        await seenAgain();
        await seenAgain();
        const reload = await server.command('reload');
        expect(reload.status, reload.stderr).to.equal(0);
        expect([[...statuses.mary], [...statuses.ben]]).to.deep.equal([[200], [303]]);
        await seenAgain();
      } finally {
        isOver = true;
        await visits;
      }
      expect([[...statuses.mary], [...statuses.ben]]).to.deep.equal([[200], [303]]);
    });

    it('says 503 while the store is frozen, and lets in again afterwards', async () => {
      const Cookie = await enter('mary');
      mongo.freeze();
      try {
        for (const [path, status] of <const>[
          ['/app/', 503],
          ['/public', 200],
        ]) {
          const reply = await ask(path, { headers: { Cookie } });
          expect(reply.status, reply.text).to.equal(status);
        }
        await sleep(2000);
      } finally {
        mongo.thaw();
      }
      let status = 0;
      while (status !== 200) status = (await ask('/app/', { headers: { Cookie } })).status;
    });
  });
}

interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function askOver(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: AskOptions,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        servername: 'example.com',
        rejectUnauthorized: false,
        agent: false,
        headers: {
          Host: 'example.com',
          ...(body !== undefined && {
            'Content-Type': 'application/json',
            'Content-Length': String(Buffer.byteLength(body)),
          }),
          ...headers,
        },
      },
      (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        reply.on('end', () => resolve({ status: reply.statusCode!, headers: reply.headers, text }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
