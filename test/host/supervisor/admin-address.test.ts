import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { StreamReader } from '../../plugins/admin/support/stream.js';
import { makeCertificate } from '../../support/certificates.js';
import { hello, pidsOf, ServerProcess } from '../../support/process.js';
import { startServer } from '../../support/server.js';

const apikey = 'the-key-of-operators';
const key = { Authorization: `Bearer ${apikey}` };

const plugin = hello()
  .replace('{ definePlugin, z }', '{ definePlugin, forOperators, z }')
  .replace(
    'setup({ config, router, metrics }) {',
    `$&
    const who = (ctx) => {
      const { ip, secure, protocol } = ctx;
      ctx.body = { ip, secure, protocol };
    };
    router.get('/who', who);
    router.get('/asker', forOperators, who);
    router.get('/loop', () => { for (;;); });`,
  );

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly json: Record<string, unknown>;
}

/** Over a connection of its own. */
async function ask(
  base: string,
  path: string,
  init: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = init;
  const [, socketPath] = /^https?\+unix:(.*)$/.exec(base) ?? [];
  const options = { method, headers, agent: false, rejectUnauthorized: false } as const;
  const send = base.startsWith('https') ? requestTls : request;
  const call =
    socketPath === undefined ? send(`${base}${path}`, options) : send({ ...options, socketPath, path });
  call.end(body);
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  const read = await text(answer);
  const isJson = answer.headers['content-type']?.startsWith('application/json');
  return {
    status: answer.statusCode!,
    headers: answer.headers,
    body: read,
    json: isJson ? JSON.parse(read) : {},
  };
}

describe('[admin]', () => {
  let server: ServerProcess;
  let admin: string;
  const ini = (more = '', network = 'workers=int:2\nworker_timeout=int:8') =>
    `[main]\nsafe=list:hello admin sessman\n[paths]\npidfile=run/server.pid\n[network]\nport=int:0\n${network}\n[auth]\napikey=${apikey}\n[plugin_parms]\nhello=auth_type=none\n[admin]\n${more}`;
  const adminUrl = (from = 0) =>
    server
      .until(({ msg }) => msg.startsWith('serving on '), from)
      .then(({ admin_urls }) => (admin_urls as string[])[0]!);
  /** The process that serves the address: the latest child of the supervisor, which is not a worker. */
  const front = () => {
    const children = execFileSync('ps', ['-o', 'pid=', '--sort=start_time', '--ppid', String(server.pid)]);
    return Number(String(children).trim().split(/\s+/).at(-1));
  };

  before(async () => {
    server = await ServerProcess.start({
      ini: ini('port=int:0\n'),
      exactIni: true,
      files: { 'plugins/hello.js': plugin },
      args: ['--safe'],
    });
    admin = await adminUrl();
  });

  after(() => server.close());

  it('serves what operators need there and nowhere else, health at both, and other plugins not there', async () => {
    expect(admin).to.match(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(admin).to.not.equal(server.url);
    const paths = [
      '/metrics',
      '/plugins',
      '/admin',
      '/admin/',
      '/sessman/sessions',
      '/livez',
      '/healthz',
      '/readyz',
      '/hello',
      '/sessman/client.js',
      '/unknown',
    ];
    const statuses = async (base: string) => {
      const found: Record<string, number> = {};
      for (const path of paths) found[path] = (await ask(base, path, { headers: key })).status;
      return found;
    };
    const unknown = await ask(server.url, '/unknown', { headers: key });
    for (const path of ['/metrics', '/plugins', '/reload/all', '/admin/api/stream', '/sessman/sessions']) {
      for (const method of ['GET', 'POST', 'OPTIONS']) {
        const { status, json } = await ask(server.url, path, { method, headers: key });
        expect({ status, code: json.code, error: json.error }, `${method} ${path}`).to.deep.equal({
          status: 404,
          code: unknown.json.code,
          error: unknown.json.error,
        });
      }
    }
    const here = { '/livez': 200, '/healthz': 200, '/readyz': 200, '/unknown': 404 };
    expect(await statuses(server.url)).to.deep.include({
      ...here,
      '/metrics': 404,
      '/admin/': 404,
      '/hello': 200,
      '/sessman/client.js': 200,
    });
    const there = await statuses(admin);
    expect(there).to.deep.include({
      ...here,
      '/metrics': 200,
      '/plugins': 200,
      '/sessman/sessions': 200,
      '/hello': 404,
      '/sessman/client.js': 404,
    });
    const names = (await ask(admin, '/plugins', { headers: key })).json.plugins as { name: string }[];
    expect(names.map(({ name }) => name)).to.include.members(['hello', 'admin', 'sessman']);
  });

  it('lists in /openapi.json, and in "plugin-server routes", what is served where', async () => {
    const pathsOf = async (base: string) =>
      Object.keys((await ask(base, '/openapi.json')).json.paths as Record<string, unknown>);
    const [everybody, operators] = [await pathsOf(server.url), await pathsOf(admin)];
    expect(everybody).to.include.members(['/hello', '/sessman/get', '/readyz']);
    expect(everybody).to.not.include.members(['/metrics']);
    expect(operators).to.include.members(['/metrics', '/reload/{name}', '/sessman/sessions', '/readyz']);
    expect(operators.filter((path) => everybody.includes(path)).sort()).to.deep.equal([
      '/healthz',
      '/livez',
      '/openapi.json',
      '/readyz',
      '/sessman/end_all',
    ]);
    const { stdout } = await server.command('routes');
    const address = (path: string) =>
      stdout
        .split('\n')
        .find((line) => line.split(/ +/)[1] === path)
        ?.split(/ +/)
        .at(-1);
    expect(['/metrics', '/livez', '/sessman/sessions', '/sessman/get'].map(address)).to.deep.equal([
      'admin',
      'both',
      'admin',
      'network',
    ]);
  });

  it('holds to the rules of the global key', async () => {
    for (const path of ['/metrics', '/plugins', '/reload/all', '/sessman/sessions', '/admin/api/stream']) {
      const { status, headers, json } = await ask(admin, path);
      expect([status, json.code, headers['www-authenticate']], path).to.deep.equal([
        401,
        'api_key_required',
        'Bearer realm="plugin-server"',
      ]);
      expect((await ask(admin, path, { headers: { Authorization: 'Bearer wrong' } })).status).to.equal(401);
    }
    const inBody = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ apikey }),
    };
    expect((await ask(admin, '/reload/none', inBody)).json.code).to.equal('unknown_plugin');
    expect((await ask(admin, '/reload/all', { method: 'PUT', headers: key })).status).to.equal(405);
  });

  it('has the admin page, its stream, and the calls for operators', async () => {
    const page = await fetch(`${admin}/admin/`);
    expect(page.status).to.equal(200);
    expect(await page.text()).to.contain('<script');
    const stream = new StreamReader(await fetch(`${admin}/admin/api/stream`, { headers: key }));
    expect((await stream.next('hello'))!.plugins.map(({ name }) => name)).to.include('hello');
    const created = await ask(server.url, '/sessman/new?userid=ada', { method: 'POST', headers: key });
    expect(created.status).to.equal(200);
    const call = (path: string, body: object) =>
      ask(admin, path, {
        method: 'POST',
        headers: { ...key, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await call('/admin/api/sessions/end_all', { userid: 'ada' })).json).to.deep.equal({ ended: 1 });
    const everyone = { method: 'POST', headers: key };
    const refused = await ask(server.url, '/sessman/end_all?everyone=true', everyone);
    expect([refused.status, refused.json.code]).to.deep.equal([403, 'operators_only']);
    const ofNobody = await ask(server.url, '/sessman/end_all?userid=ada&everyone=false', everyone);
    expect(ofNobody.json).to.deep.equal({ ended: 0 });
    expect((await ask(admin, '/sessman/end_all?everyone=true', everyone)).status).to.equal(200);
    await stream.close();
  });

  it('tells the worker who asks, and nobody else can', async () => {
    const { headers } = await ask(admin, '/admin/', { headers: { 'X-Request-Id': 'from-the-client' } });
    expect(headers['x-request-id']).to.equal('from-the-client');
    expect(headers['x-content-type-options']).to.equal('nosniff');
    const lie = {
      headers: { 'Plugin-Server-Peer': '203.0.113.9', Connection: 'close, X-Own', 'X-Own': 'a' },
    };
    const asker = { ip: '127.0.0.1', secure: false, protocol: 'http' };
    expect((await ask(server.url, '/hello/who', lie)).json).to.deep.equal(asker);
    expect((await ask(admin, '/hello/asker', lie)).json).to.deep.equal(asker);
    expect((await ask(server.url, '/hello/asker')).status).to.equal(404);
    expect((await ask(admin, '/hello/who')).status).to.equal(404);
  });

  it('responds while all workers hang, and names them', async function () {
    this.timeout(30_000);
    const pids = await pidsOf(server, 2);
    const from = server.logs.length;
    const hanging = new Set<number>();
    while (hanging.size < 2) {
      for (let i = 0; i < 4; i += 1)
        request(`${server.url}/hello/loop`, { agent: false })
          .on('error', () => {})
          .end();
      const { status, body } = await ask(admin, '/metrics', { headers: key });
      expect(status).to.equal(200);
      hanging.clear();
      for (const [, pid] of body.matchAll(/^plugin_server_worker_unanswered\{pid="(\d+)"\} 1$/gm))
        hanging.add(Number(pid));
      if (hanging.size === 2) expect(body).to.match(/^plugin_server_workers_unanswered 2$/m);
    }
    expect([...hanging].sort()).to.deep.equal(pids.sort());
    expect((await ask(admin, '/livez')).status).to.equal(200);
    const silent = await ask(admin, '/readyz');
    expect([silent.status, silent.json.code, silent.headers['retry-after']]).to.deep.equal([
      503,
      'workers_silent',
      '1',
    ]);
    for (const pid of pids) expect(silent.json.error).to.contain(String(pid));
    const reloaded = await ask(admin, '/reload/all', { method: 'POST', headers: key });
    expect(reloaded.status).to.equal(200);
    expect(reloaded.json).to.include({ reloaded: 'all', success: true });
    expect((await ask(admin, '/readyz')).status).to.equal(200);
    expect(server.logs.slice(from).some(({ msg }) => msg === 'reloaded')).to.equal(true);
  });

  it('has the process that serves it replaced when it ends, without losing a connection', async () => {
    const pid = front();
    expect(await pidsOf(server, 2)).to.not.include(pid);
    const replaced = server.next('a new worker serves');
    process.kill(pid, 'SIGKILL');
    expect((await ask(admin, '/plugins', { headers: key })).status).to.equal(200);
    await replaced;
    expect(front()).to.not.equal(pid);
  });

  it('moves with a reload, to TLS and to several addresses, while requests are served', async () => {
    const { key: keyfile, cert } = await makeCertificate();
    await server.write('key.pem', keyfile);
    await server.write('cert.pem', cert);
    const tls = '[ssl]\nenabled=yes\nkeyfile=key.pem\ncertfile=cert.pem\n';
    await server.write(
      'plugin-server.ini',
      ini(`bindto=list:127.0.0.1 unix:run/admin.sock\nport=int:0\n${tls}`),
    );
    const from = server.logs.length;
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    expect((await server.command('reload')).stderr).to.equal('');
    const line = await server.until(({ msg }) => msg.startsWith('serving on '), from);
    const [one, two] = line.admin_urls as string[];
    expect([one!.replace(/\d+$/, ''), two]).to.deep.equal([
      'https://127.0.0.1:',
      `https+unix:${join(server.folder, 'run/admin.sock')}`,
    ]);
    for (const base of [one!, two!]) {
      const metrics = await ask(base, '/metrics', { headers: key });
      const { ip, secure } = (await ask(base, '/hello/asker')).json;
      expect({ ip, secure }).to.deep.equal({ ip: base === one ? '127.0.0.1' : '', secure: true });
      expect([metrics.status, metrics.headers['strict-transport-security']]).to.deep.equal([
        200,
        'max-age=31536000',
      ]);
      expect((await ask(base, '/plugins', { headers: key })).status).to.equal(200);
    }
    const { port } = occupant.address() as { port: number };
    await server.write('plugin-server.ini', ini(`port=int:${port}\n`));
    const { status, stderr } = await server.command('reload');
    expect(status).to.equal(1);
    expect(stderr).to.match(
      new RegExp(
        `^plugin-server\\.ini:\\d+:6: port ${port} on 127\\.0\\.0\\.1 is in use by another program; stop that program, or set another "port" in \\[admin\\]\\n`,
      ),
    );
    expect((await ask(two!, '/metrics', { headers: key })).status).to.equal(200);
    occupant.close();
  });
});

describe('[admin] of a server in one process', () => {
  it('serves each at its own addresses, which may be several', async () => {
    const server = await startServer({
      // The first port is replaced by 0.
      ini: `[main]\nsafe=admin\n[network]\nbindto=list:127.0.0.1 ::1\nport=int:1\n[auth]\napikey=${apikey}\n[admin]\nbindto=list:127.0.0.1 unix:admin.sock\nport=int:0\n`,
      safe: true,
      control: {
        reload: async () => ({ success: true, unanswered: [7, 8] }),
        metrics: async () => [],
      },
    });
    try {
      const { urls, adminUrls } = server.host;
      expect(new URL(urls[1]!).port).to.equal(new URL(urls[0]!).port);
      expect(adminUrls[1]).to.equal(`http+unix:${join(server.folder, 'admin.sock')}`);
      for (const url of urls) {
        expect((await ask(url, '/metrics', { headers: key })).status, url).to.equal(404);
        expect((await ask(url, '/livez')).status).to.equal(200);
      }
      for (const url of adminUrls) {
        expect((await ask(url, '/metrics', { headers: key })).status, url).to.equal(200);
        expect((await ask(url, '/admin/')).status).to.equal(200);
        expect((await ask(url, '/readyz')).status).to.equal(200);
      }
      const reloaded = await ask(adminUrls[0]!, '/reload/all', { headers: key });
      expect(reloaded.json).to.deep.equal({ reloaded: 'all', success: true, unanswered: [7, 8] });
    } finally {
      await server.close();
    }
  });
});
