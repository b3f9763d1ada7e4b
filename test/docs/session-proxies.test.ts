import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { makeCertificate } from '../support/certificates.js';
import { freePort } from '../support/mongodb/process.js';
import { type MongoServer, startMongo } from '../support/mongodb.js';
import { isListening, ServerProcess } from '../support/process.js';
import { makeFolder, writeFiles } from '../support/server.js';

const key = 'the-global-key-of-this-test';

/** The login page: whoever says a name is that user. */
const login = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  auth: 'own',
  after: ['sessman'],
  setup({ router, plugin }) {
    const sessions = plugin('sessman');
    router.get('/', (ctx) => { ctx.body = 'Who are you?'; });
    router.post('/', async (ctx) => {
      await sessions.login(ctx, ctx.request.body.user);
      ctx.body = { ok: true };
    });
  },
});`;

interface Site {
  readonly folder: string;
  readonly port: number;
  readonly server: string;
  readonly application: string;
}

interface Proxy {
  readonly name: string;
  readonly file: string;
  readonly available: boolean;
  /** The documented file with the addresses of the test in it. */
  configure(text: string, site: Site): string;
  command(file: string): readonly [string, ...string[]];
}

const isInstalled = (file: string, ...args: readonly string[]) => spawnSync(file, args).status === 0;
const nginxFile = isInstalled('nginx', '-v') ? 'nginx' : '/usr/sbin/nginx';

const proxies: readonly Proxy[] = [
  {
    name: 'nginx',
    file: 'sessions-nginx.conf',
    available: isInstalled(nginxFile, '-v'),
    configure: (text, { folder, port, server, application }) => `
daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder}/${of};`).join(' ')}
  ${replaced(text, {
    'server 127.0.0.1:6123;': `server ${server};`,
    'server 127.0.0.1:3000;': `server ${application};`,
    'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
    '/etc/ssl/example.com.pem': `${folder}/cert.pem`,
    '/etc/ssl/example.com-key.pem': `${folder}/key.pem`,
  })}
}`,
    command: (file) => [nginxFile, '-c', file],
  },
  {
    name: 'Caddy',
    file: 'sessions.Caddyfile',
    available: isInstalled('caddy', 'version'),
    configure: (text, { folder, port, server, application }) => `{
  admin off
  auto_https off
}
${replaced(text, {
  'example.com {': `https://:${port} {\n  bind 127.0.0.1\n  tls ${folder}/cert.pem ${folder}/key.pem`,
  '127.0.0.1:6123': server,
  '127.0.0.1:3000': application,
})}`,
    command: (file) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', file],
  },
];

for (const proxy of proxies) {
  describe(`sessions behind ${proxy.name}, as documented in docs/${proxy.file}`, function () {
    this.timeout(120_000);
    let mongo: MongoServer;
    let server: ServerProcess;
    let application: Server;
    let child: ChildProcess;
    let folder: string;
    let port: number;
    let messages = '';

    before(async function () {
      if (!proxy.available) this.skip();
      mongo = await startMongo();
      const { host, user, password, database } = await mongo.createDatabase();
      const settings = { cookie: true, server_url: host, username: user, password, database };
      server = await ServerProcess.start({
        ini: `[network]\nproxy=bool:true\nhosts=example.com\nworkers=int:2\n[auth]\napikey=${key}\n[plugin_parms]\nsessman=json=sessman.json\n`,
        files: { 'sessman.json': JSON.stringify(settings), 'plugins/login.js': login },
      });
      application = createServer((incoming, answer) => {
        answer.setHeader('Content-Type', 'application/json');
        answer.end(JSON.stringify({ path: incoming.url, headers: incoming.headers }));
      }).listen(0, '127.0.0.1');
      await once(application, 'listening');
      folder = await makeFolder();
      port = await freePort();
      const { cert, key: privateKey } = await makeCertificate();
      const documented = fileURLToPath(new URL(`../../../docs/${proxy.file}`, import.meta.url));
      const text = proxy.configure(await readFile(documented, 'utf8'), {
        folder,
        port,
        server: new URL(server.url).host,
        application: `127.0.0.1:${(application.address() as AddressInfo).port}`,
      });
      await writeFiles(folder, { 'cert.pem': cert, 'key.pem': privateKey, configuration: text });
      const [file, ...args] = proxy.command(join(folder, 'configuration'));
      child = spawn(file, args, {
        env: { ...process.env, HOME: folder },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr!.setEncoding('utf8').on('data', (line) => {
        messages += line;
      });
      while (!(await isListening(`http://127.0.0.1:${port}`))) {
        if (child.exitCode !== null) throw new Error(messages);
        await sleep(20);
      }
    });

    after(async () => {
      if (child !== undefined && child.exitCode === null) {
        child.kill();
        await once(child, 'exit');
      }
      application?.closeAllConnections();
      application?.close();
      mongo?.thaw();
      await server?.close();
      await mongo?.stop();
      if (folder !== undefined) await rm(folder, { recursive: true });
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

    it('says 503 while the store is frozen, and lets in again afterwards', async () => {
      const Cookie = await enter('mary');
      mongo.freeze();
      try {
        expect((await ask('/app/', { headers: { Cookie } })).status).to.equal(503);
        expect((await ask('/public')).status).to.equal(200);
        await sleep(2000);
      } finally {
        mongo.thaw();
      }
      let status = 0;
      while (status !== 200) status = (await ask('/app/', { headers: { Cookie } })).status;
    });
  });
}

/** Each text has to be in the configuration: the test must not run something else than the page says. */
function replaced(text: string, replacements: Readonly<Record<string, string>>): string {
  let result = text;
  for (const [from, to] of Object.entries(replacements)) {
    expect(result, 'the documented configuration').to.include(from);
    result = result.replaceAll(from, to);
  }
  return result;
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
