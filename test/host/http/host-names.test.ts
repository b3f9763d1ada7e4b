import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { requestRaw, sendRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const files = {
  'plugins/try.mjs': `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { host: ctx.host }; });
  },
});`,
};
const key = '[auth]\napikey=a-global-key-of-some-length\n';
const authorization = 'Bearer a-global-key-of-some-length';

/** An INI file; what is told of a request to a name under it; the names that are answered; those that are not. */
const rules: readonly (readonly [
  ini: string,
  what: string,
  good: readonly string[],
  bad: readonly string[],
])[] = [
  [
    '',
    'without a global key',
    [
      'localhost',
      'LocalHost:80',
      'localhost.',
      'shop.localhost:6123',
      '127.0.0.1',
      '127.8.9.1:1',
      '192.0.2.7',
      '[::1]',
      '[::1]:6123',
      '[2001:DB8::7]',
      '',
    ],
    [
      'evil.example',
      'evil.example:6123',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'notlocalhost',
      'evil-localhost',
      'app',
      '1.2.3',
      '127.0.0.1x',
      'xn--lcalhost-e1a',
    ],
  ],
  [key, 'with a global key', ['localhost', 'evil.example', 'app:80', '127.0.0.1', '[::1]', ''], []],
  [
    `[network]\nhosts=list:example.org *.shop.example api.example:8443 192.0.2.7 [2001:db8::7] Bücher.example\n${key}`,
    'with a list',
    [
      'example.org',
      'EXAMPLE.org:8443',
      'example.org.',
      'a.shop.example',
      'a.b.shop.example',
      'api.example',
      '192.0.2.7:80',
      '[2001:db8::7]:80',
      'xn--bcher-kva.example',
      '',
    ],
    [
      'localhost',
      '127.0.0.1',
      '[::1]',
      'shop.example',
      'www.example.org',
      'xshop.example',
      'example.org.evil.example',
      'evil-example.org',
      '.shop.example.evil',
      '192.0.2.8',
    ],
  ],
  [
    '[network]\nhosts=localhost\n',
    'with a list of one',
    ['localhost', 'LOCALHOST:1'],
    ['127.0.0.1', 'a.localhost', 'evil.example'],
  ],
  ['[network]\nhosts=*\n', 'with * as the list', ['localhost', 'evil.example', '192.0.2.7'], []],
  [
    '[network]\nproxy=on\nhosts=example.org\n',
    'behind a proxy, whose X-Forwarded-Host is that name,',
    ['example.org', 'EXAMPLE.ORG:443', 'example.org, inner', 'example.org, 10.0.0.7:80'],
    ['evil.example', 'localhost', '127.0.0.1', 'evil.example, example.org', 'example.org, evil.example'],
  ],
];

describe('the host name of a request', () => {
  for (const [ini, what, good, bad] of rules) {
    describe(what, () => {
      let server: TestServer;
      before(async () => {
        server = await startServer({ ini, files });
      });
      after(() => server.close());
      const field = ini.includes('proxy') ? 'X-Forwarded-Host' : 'Host';
      const ask = async (path: string, name: string) => {
        const headers = { [field]: name, ...(ini.includes(key) && { Authorization: authorization }) };
        const { status, body } = await requestRaw(server.url, path, { headers });
        return { status, code: (JSON.parse(body) as { code?: string }).code };
      };

      for (const name of good) {
        it(`may be "${name}"`, async () => {
          expect(await ask('/try', name)).to.deep.equal({ status: 200, code: undefined });
        });
      }
      for (const name of bad) {
        it(`may not be "${name}"`, async () => {
          expect(await ask('/try', name)).to.deep.equal({ status: 421, code: 'wrong_host' });
          expect(await ask('/nothing', name)).to.deep.equal({ status: 421, code: 'wrong_host' });
        });
      }
    });
  }

  describe('that is refused', () => {
    let server: TestServer;
    before(async () => {
      server = await startServer({ ini: '[network]\nhosts=example.org\nproxy=false\n', files });
    });
    after(() => server.close());
    const statusOf = async (path: string, headers: Readonly<Record<string, string>>) =>
      (await requestRaw(server.url, path, { headers })).status;

    it('is no matter to health checks and to /metrics, at their exact paths', async () => {
      for (const path of ['/livez', '/healthz', '/readyz', '/readyz?verbose', '/metrics']) {
        expect(await statusOf(path, { Host: 'evil.example' }), path).to.equal(200);
      }
      for (const path of ['/metrics/', '/livez/', '/openapi.json', '/plugins', '/reload/all', '/%6Detrics']) {
        expect(await statusOf(path, { Host: 'evil.example' }), path).to.equal(421);
      }
    });

    it("is no matter to sessman's check of a session, at its exact path", async () => {
      expect(await statusOf('/sessman/check', { Host: 'evil.example' })).to.equal(401);
      expect(await statusOf('/sessman/check?touch=true', { Host: 'evil.example' })).to.equal(401);
      const others = [
        ...['check/', 'check/x', 'check//', 'check%2f', 'check;x', 'CHECK', 'checks', 'chec%6b', './check'],
        ...['get', 'sessions', 'watch', 'client.js', ''],
      ];
      for (const path of others) {
        expect(await statusOf(`/sessman/${path}`, { Host: 'evil.example' }), path).to.equal(421);
      }
    });

    it('is not replaced by the word of a proxy that is not trusted', async () => {
      expect(await statusOf('/try', { Host: 'evil.example', 'X-Forwarded-Host': 'example.org' })).to.equal(
        421,
      );
      expect(await statusOf('/try', { Host: 'example.org', 'X-Forwarded-Host': 'evil.example' })).to.equal(
        200,
      );
    });

    it('counts in an absolute target too', async () => {
      expect(await statusOf('http://evil.example/try', { Host: 'example.org' })).to.equal(421);
      expect(await statusOf('http://example.org:80/try', { Host: 'example.org' })).to.equal(200);
      expect(await statusOf('http://example.org/try', { Host: 'evil.example' })).to.equal(421);
    });

    it('is not asked of a request that names none, as of HTTP/1.0', async () => {
      expect(await sendRaw(server.host.address.port, 'GET /try HTTP/1.0\r\n\r\n')).to.match(
        /^HTTP\/1.1 200 /,
      );
    });
  });

  it('is that of X-Forwarded-Host only from the proxies that proxy lists', async () => {
    for (const [proxy, status] of [
      ['list:127.0.0.0/8', 200],
      ['list:10.0.0.7', 421],
    ] as const) {
      const server = await startServer({ ini: `[network]\nproxy=${proxy}\nhosts=example.org\n`, files });
      try {
        const headers = { Host: '127.0.0.1', 'X-Forwarded-Host': 'example.org' };
        expect((await requestRaw(server.url, '/try', { headers })).status, proxy).to.equal(status);
      } finally {
        await server.close();
      }
    }
  });

  it('is that of Host too where a trusted proxy sends another: a page may send X-Forwarded-Host', async () => {
    const server = await startServer({ ini: '[network]\nproxy=on\nhosts=example.org\n', files });
    try {
      const statusOf = async (host: string) =>
        (await requestRaw(server.url, '/try', { headers: { Host: host, 'X-Forwarded-Host': 'example.org' } }))
          .status;
      expect(await statusOf('evil.example')).to.equal(421);
      for (const host of ['127.0.0.1:6123', '[::1]', 'localhost', 'plugin_server', 'example.org']) {
        expect(await statusOf(host), host).to.equal(200);
      }
    } finally {
      await server.close();
    }
  });

  const mistakes: readonly (readonly [value: string, says: RegExp])[] = [
    ['a.example,b.example', /a comma does not separate items; write list:a\.example b\.example/],
    ['https://a.example', /is not a host name; write example\.org/],
    ['a.example/x', /is not a host name/],
    ['a.*.example', /is not a host name/],
    ['*example.org', /is not a host name/],
    ['u@a.example', /is not a host name/],
    ['list:a.example *', /write "\*" alone/],
    ['list:', /it is empty; write a host name, or remove it/],
    ['a.example:x', /is not a host name/],
    ['[::1', /is not a host name/],
  ];
  for (const [value, says] of mistakes) {
    it(`is not written hosts=${value}`, async () => {
      let error: unknown;
      try {
        await (await startServer({ ini: `[network]\nhosts=${value}\n`, files })).close();
      } catch (caught) {
        error = caught;
      }
      expect(error).to.be.instanceOf(ConfigError);
      expect((error as ConfigError).message).to.match(says);
    });
  }
});
