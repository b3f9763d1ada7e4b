import { readFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hello, ServerProcess } from '../support/process.js';
import { caddy, nginx, RunningProxy, replaced } from '../support/proxy.js';

/** The proxies answer operators at this address, and the tests ask from it and from another. */
const inside = '127.0.0.2';
const outside = '127.0.0.1';
const key = 'the-global-key-of-this-test';

/** What docs/deploying.md keeps for operators, and the status that they get. */
const operatorsRoutes = [
  { path: '/metrics', query: '', status: 200 },
  { path: '/plugins', query: '', status: 200 },
  { path: '/reload', query: '', status: 404 },
  { path: '/reload/hello', query: '', status: 200 },
  { path: '/admin', query: '', status: 308 },
  { path: '/admin/api/overview', query: '', status: 404 },
  { path: '/readyz', query: '?verbose', status: 200 },
  { path: '/openapi.json', query: '', status: 200 },
];

/** What may stand behind a path in its place. */
const ends = words(String.raw`
  / // /// /. /./ /.. /x/.. /%2e /%2e%2e %2f %2F %2f%2f %5c \ ; ;x ;x=1 ;/ /;x . .. %2e %20 %20/ + %00 %00.html %01
  %09 %0a %0d%0a %7f %a0 %c2%a0 %c0%af %e2%80%8b %ff % %2 %zz ~ * , ? ?x ?/ %3f %3fx=1 %253f # #x %23x /?x :80 @ .json
  .html &x /../.. /x/../.. /../hello /%2e%2e/hello /%2e%2e/%2e%2e %2f.. /x%2f..%2f.. /..%2f.. /..%2fhello /.%2e?x
  /%2E%2E/ /..;/.. /.../.. /hello/../..%2f.. /..%5c.. /..?/.. /x/..?x /x/..# /..// //../`);

/** What may stand in front of a path. */
const starts = words(String.raw`
  / // /. /.. /./. /%2e /%2e%2e /%2f /%5c /\ /; /;x /* /hello/.. /hello/%2e%2e /hello/%2E. /hello%2f.. /hello/..;
  /hello/..;x /hello/.%00. /hello/x/../.. /hello//.. /hello/%252e%252e /hello/%c0%ae%c0%ae /hello/%u002e%u002e /api
  /api/ /api/hello /api/hello/.. /api/hello/../.. /api/hello/%2e%2e http://example.com http://example.com/
  HTTPS://EXAMPLE.COM http://example.com:6123 https://user:word@example.com http: http://`);

/** What may stand in front of a path without its first slash. */
const prefixes = words(String.raw`
  /hello/..%2f /hello/..%5c /hello/..\ /hello%2f%2e%2e%2f /hello/..%252f /%2f /%252f /api/hello/..%2f
  /api/hello/%2e%2e%2f /api/hello/..%252f /api/hello/..%5c /api/hello..`);

/** What a request from outside may try in place of a path. */
function spellings(path: string): readonly string[] {
  const name = path.slice(1);
  const code = name.charCodeAt(0).toString(16);
  const rest = name.slice(1);
  const inCodes = [...name].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('');
  return [
    path,
    name,
    ...ends.map((end) => path + end),
    ...starts.map((start) => start + path),
    ...prefixes.map((prefix) => prefix + name),
    ...[`/%${code}${rest}`, `/%${code.toUpperCase()}${rest}`, `/%25${code}${rest}`, `/${inCodes}`],
    ...[`/${name.toUpperCase()}`, `/${name[0]!.toUpperCase()}${rest}`, `/${rest}`, `/%ef%bd%${code}${rest}`],
  ];
}

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** What a request may claim of itself beside a path. */
const claims: readonly Readonly<Record<string, string>>[] = [
  { 'X-Forwarded-For': inside },
  { 'X-Forwarded-For': `${inside}, 10.0.0.1` },
  { 'X-Real-IP': inside, 'X-Client-IP': inside, 'True-Client-IP': inside, Forwarded: `for=${inside}` },
  { Connection: 'close, X-Forwarded-For, X-Forwarded-Host' },
  { Host: 'localhost' },
  { Host: inside },
  { 'X-Forwarded-Host': 'localhost', 'X-Forwarded-Proto': 'http', 'X-Forwarded-Prefix': '/hello' },
  { 'X-HTTP-Method-Override': 'POST' },
  { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings', 'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA' },
];

/** The documented configuration, from the blocks of the page, with the addresses of the test in it. */
const proxies = [
  {
    program: nginx,
    language: 'nginx',
    configure: ([site = '', location = '']: readonly string[], server: string) =>
      replaced(site.replace(/\}\s*$/, `${location}}\n`), {
        'server 127.0.0.1:6123;': `server ${server};`,
        '10.0.0.0/8': inside,
      }),
  },
  {
    program: caddy,
    language: 'caddy',
    configure: ([site = '']: readonly string[], server: string) =>
      replaced(site, { '127.0.0.1:6123': server, '10.0.0.0/8': inside }),
  },
];

for (const { program, language, configure } of proxies) {
  describe(`the documented configuration of ${program.name}`, function () {
    this.timeout(120_000);
    let server: ServerProcess;
    let proxy: RunningProxy;
    let port: number;

    before(async function () {
      if (!program.available) this.skip();
      const page = await readFile(
        fileURLToPath(new URL('../../../docs/deploying.md', import.meta.url)),
        'utf8',
      );
      const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
        .filter(([, of]) => of === language)
        .map(([, , text]) => text as string);
      server = await ServerProcess.start({
        ini: `[network]\nproxy=bool:true\n[auth]\napikey=${key}\n`,
        files: { 'plugins/hello.js': hello() },
      });
      proxy = await RunningProxy.start(program, configure(blocks, new URL(server.url).host));
      port = proxy.port;
    });

    after(async () => {
      await proxy?.close();
      await server?.close();
    });

    /** The plugin to which the server counted a request with this id, as its access log says; undefined for none. */
    const reachedBy = async (answers: readonly Answer[]): Promise<readonly string[]> => {
      const end = await ask(port, outside, 'GET', '/hello/the-last-request');
      await server.until((line) => line.request_id === end.id);
      const plugins = new Map(server.logs.map(({ request_id, plugin }) => [request_id, plugin]));
      return answers
        .map(({ request, id }) => ({ request, plugin: id === undefined ? undefined : plugins.get(id) }))
        .filter(({ plugin }) => plugin === 'plugin-server' || plugin === 'admin')
        .map(({ request, plugin }) => `${request} reached ${plugin}`);
    };

    it('serves plugins to everyone', async () => {
      expect((await ask(port, outside, 'GET', '/hello')).status).to.equal(200);
      expect((await ask(port, outside, 'GET', '/livez')).status).to.equal(200);
    });

    it("serves the operators' routes inside", async () => {
      for (const { path, query, status } of operatorsRoutes) {
        const method = path.startsWith('/reload') ? 'POST' : 'GET';
        const answer = await ask(port, inside, method, path + query);
        expect(answer, path).to.include({ status });
        expect(answer.id, path).to.be.a('string');
      }
    });

    for (const { path, query } of operatorsRoutes) {
      it(`keeps ${path}${query} inside, however it is spelt`, async () => {
        const targets = spellings(path).map((spelling) =>
          /[?#]/.test(spelling) ? spelling : spelling + query,
        );
        const answers: Answer[] = [];
        for (const method of path.startsWith('/reload') ? ['GET', 'POST'] : ['GET']) {
          answers.push(...(await eachOf(targets, (target) => ask(port, outside, method, target))));
        }
        answers.push(...(await askByHttp2(port, targets)));
        expect(await reachedBy(answers)).to.deep.equal([]);
        expect(
          answers.filter(({ request, status }) => request === `GET ${path}${query}` && status !== 403),
        ).to.deep.equal([]);
      });
    }

    it('believes nothing that a request says of its origin', async () => {
      const answers: Answer[] = [];
      for (const { path, query } of operatorsRoutes) {
        for (const headers of claims) answers.push(await ask(port, outside, 'GET', path + query, headers));
        for (const name of ['X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Uri', 'X-Forwarded-Path']) {
          answers.push(await ask(port, outside, 'GET', '/hello', { [name]: path + query }));
        }
      }
      expect(await reachedBy(answers)).to.deep.equal([]);
    });
  });
}

interface Answer {
  readonly request: string;
  /** 0 where the connection was closed without one. */
  readonly status: number;
  /** The request id of the server's answer. */
  readonly id: string | undefined;
}

/** Sends a request over TLS with its target byte for byte as given. */
function ask(
  port: number,
  localAddress: string,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const fields = { Host: 'example.com', Authorization: `Bearer ${key}`, Connection: 'close', ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const body = method === 'POST' ? 'Content-Length: 0\r\n' : '';
  return new Promise((resolve) => {
    let text = '';
    const options = {
      port,
      host: '127.0.0.1',
      servername: 'example.com',
      rejectUnauthorized: false,
      localAddress,
    };
    const socket = connectTls(options, () => {
      socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join('')}${body}\r\n`, 'latin1');
    });
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
      // The head is all that counts, and some proxies keep the connection open.
      if (text.includes('\r\n\r\n')) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () =>
      resolve({
        request: `${method} ${target}`,
        status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0),
        id: /^x-request-id: (\S+)/im.exec(text)?.[1],
      }),
    );
  });
}

/** As `map`, a few at once. */
async function eachOf<Item, Result>(
  items: readonly Item[],
  act: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += 8) {
    results.push(...(await Promise.all(items.slice(start, start + 8).map(act))));
  }
  return results;
}

async function askByHttp2(port: number, targets: readonly string[]): Promise<readonly Answer[]> {
  const open = () =>
    connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false }).on('error', () => {});
  let session = open();
  const answers: Answer[] = [];
  for (const target of targets) {
    // A proxy may end it for what it was asked.
    if (session.destroyed || session.closed) session = open();
    const request = `GET ${target}`;
    const stream = session.request({
      ':path': target,
      ':authority': 'example.com',
      authorization: `Bearer ${key}`,
    });
    stream.on('error', () => {}).resume();
    answers.push(
      await new Promise<Answer>((resolve) => {
        stream.on('response', (headers) => {
          const id = headers['x-request-id'] as string | undefined;
          resolve({ request, status: Number(headers[':status']), id });
        });
        stream.on('close', () => resolve({ request, status: 0, id: undefined }));
      }),
    );
  }
  session.destroy();
  return answers;
}
