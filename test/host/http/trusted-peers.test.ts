import { type OutgoingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeFolder, startServer, type TestServer } from '../../support/server.js';

const files = {
  'plugins/seen.js': `import { definePlugin } from 'plugin-server';
    export default definePlugin({ setup: ({ router }) => {
      router.get('/', (ctx) => {
        const { ip, ips, secure, host, hostname, protocol, href } = ctx;
        ctx.body = { ip, ips, secure, host, hostname, protocol, href };
      });
    } });`,
};

interface Seen {
  readonly ip: string;
  readonly ips: readonly string[];
  readonly secure: boolean;
  readonly host: string;
}

const forwarded = {
  'X-Forwarded-For': '198.51.100.1, 203.0.113.9',
  'X-Forwarded-Proto': 'https',
  'X-Forwarded-Host': 'shop.example',
};

describe('[network] proxy as a list', () => {
  let server: TestServer | undefined;

  afterEach(() => server?.close());

  async function start(proxy: string, more = ''): Promise<void> {
    server = await startServer({
      ini: `[network]\nhosts=*\nproxy=${proxy}\n${more}\n[auth]\n`,
      files,
    });
  }

  /** Over a connection from this address, or to this socket. */
  function ask(
    from: { localAddress: string; host?: string } | { socketPath: string },
    headers: Readonly<Record<string, string | readonly string[]>> = forwarded,
  ): Promise<{ status: number; seen: Seen }> {
    const port = 'socketPath' in from ? {} : { host: '127.0.0.1', port: portOf(server!) };
    return new Promise((resolve, reject) => {
      const sent = request({
        ...port,
        ...from,
        path: '/seen',
        headers: { Host: 'a.example', ...headers } as OutgoingHttpHeaders,
      });
      sent.on('error', reject).on('response', async (response) => {
        const text = (await response.toArray()).join('');
        resolve({ status: response.statusCode!, seen: JSON.parse(text) as Seen });
      });
      sent.end();
    });
  }

  it('believes the headers of a peer with that address', async () => {
    await start('list:127.0.0.2');
    const { seen } = await ask({ localAddress: '127.0.0.2' });
    expect(seen).to.deep.equal({
      ip: '203.0.113.9',
      ips: ['203.0.113.9'],
      secure: true,
      host: 'shop.example',
      hostname: 'shop.example',
      protocol: 'https',
      href: 'https://shop.example/seen',
    });
  });

  it('does not believe those of another peer', async () => {
    await start('list:127.0.0.2');
    const { seen } = await ask({ localAddress: '127.0.0.1' });
    expect(seen).to.deep.equal({
      ip: '127.0.0.1',
      ips: [],
      secure: false,
      host: 'a.example',
      hostname: 'a.example',
      protocol: 'http',
      href: 'http://a.example/seen',
    });
  });

  for (const { proxy, from, trusted } of [
    { proxy: '127.0.0.2', from: '127.0.0.2', trusted: true },
    { proxy: 'list:10.0.0.7 127.0.0.3', from: '127.0.0.3', trusted: true },
    { proxy: '127.5.0.0/16', from: '127.5.255.1', trusted: true },
    { proxy: '127.5.0.0/16', from: '127.6.0.1', trusted: false },
    { proxy: '127.0.0.4/30', from: '127.0.0.7', trusted: true },
    { proxy: '127.0.0.4/30', from: '127.0.0.8', trusted: false },
    { proxy: '0.0.0.0/0', from: '127.0.0.9', trusted: true },
    { proxy: '::/0', from: '127.0.0.9', trusted: false },
    { proxy: '::ffff:127.0.0.2', from: '127.0.0.2', trusted: true },
    { proxy: '::ffff:127.5.0.0/112', from: '127.5.9.9', trusted: true },
    { proxy: 'fd00::/8', from: '127.0.0.1', trusted: false },
  ]) {
    it(`${proxy} ${trusted ? 'holds' : 'does not hold'} ${from}`, async () => {
      await start(proxy);
      expect((await ask({ localAddress: from })).seen.secure).to.equal(trusted);
    });
  }

  for (const { proxy, trusted } of [
    { proxy: '::1', trusted: true },
    { proxy: '0:0:0:0:0:0:0:1', trusted: true },
    { proxy: '::/64', trusted: true },
    { proxy: '::2', trusted: false },
    { proxy: '127.0.0.1', trusted: false },
  ]) {
    it(`${proxy} ${trusted ? 'holds' : 'does not hold'} the IPv6 peer ::1`, async () => {
      await start(proxy, 'bindto=::1');
      expect((await ask({ localAddress: '::1', host: '::1' })).seen.secure).to.equal(trusted);
    });
  }

  it('holds an IPv4 peer of a socket that takes both', async () => {
    await start('127.0.0.2', 'bindto=::');
    expect((await ask({ localAddress: '127.0.0.2' })).seen.ip).to.equal('203.0.113.9');
    expect((await ask({ localAddress: '127.0.0.1' })).seen.ip).to.match(/^(?:::ffff:)?127\.0\.0\.1$/);
  });

  it('believes each peer on a Unix socket', async () => {
    const folder = await makeFolder();
    const socketPath = join(folder, 'server.sock');
    await start('list:127.0.0.2', `bindto=unix:${socketPath}`);
    const { seen } = await ask({ socketPath });
    expect([seen.ip, seen.secure, seen.host]).to.deep.equal(['203.0.113.9', true, 'shop.example']);
    const told = await ask({ socketPath }, { Forwarded: 'for="[2001:db8::7]:80";proto=https' });
    expect([told.seen.ip, told.seen.secure]).to.deep.equal(['2001:db8::7', true]);
  });

  for (const { says, ip } of [
    { says: '1.1.1.1, 203.0.113.9', ip: '203.0.113.9' },
    { says: '1.1.1.1, 203.0.113.9, 10.1.2.3', ip: '203.0.113.9' },
    { says: '1.1.1.1, 10.9.9.9, 203.0.113.9, 10.1.2.3:4001,10.1.2.4', ip: '203.0.113.9' },
    { says: '203.0.113.9:4001, 10.1.2.3', ip: '203.0.113.9' },
    { says: '[2001:db8::7]:4001, 10.1.2.3', ip: '2001:db8::7' },
    { says: '2001:db8::7, 10.1.2.3', ip: '2001:db8::7' },
    { says: '10.1.2.3, 10.1.2.4', ip: '10.1.2.3' },
    { says: 'unknown, 10.1.2.3', ip: 'unknown' },
    { says: '', ip: '127.0.0.2' },
  ]) {
    it(`takes ${ip} for the client where X-Forwarded-For says "${says}"`, async () => {
      await start('list:127.0.0.2 10.0.0.0/8');
      const { seen } = await ask({ localAddress: '127.0.0.2' }, { 'X-Forwarded-For': says });
      expect(seen.ip).to.equal(ip);
    });
  }

  it('reads Forwarded, of a trusted peer, whatever a client has written before it', async () => {
    const own = { ip: '127.0.0.2', secure: false, host: 'a.example' };
    await start('list:127.0.0.2 10.0.0.0/8');
    for (const [says, expected] of [
      [
        'for=203.0.113.9;proto=https;host=shop.example',
        { ip: '203.0.113.9', secure: true, host: 'shop.example' },
      ],
      [
        'For="203.0.113.9:4711";Proto=HTTPS;HOST="shop.example:8443"',
        { ip: '203.0.113.9', secure: true, host: 'shop.example:8443' },
      ],
      ['for="[2001:db8:cafe::17]:4711"', { ip: '2001:db8:cafe::17' }],
      ['for="[2001:db8:cafe::17]:_port" ; by=10.0.0.1', { ip: '2001:db8:cafe::17' }],
      ['for=_hidden;proto=https', { ip: '_hidden', secure: true }],
      ['for=unknown', { ip: 'unknown' }],
      ['proto=https', { secure: true }],
      ['', {}],
      [',, for=203.0.113.9 , ,', { ip: '203.0.113.9' }],
      // Of several elements, the last whose address is not a proxy's.
      [
        'for=1.1.1.1;proto=https, for=203.0.113.9;proto=http;host=b.example, for=10.1.2.3;proto=https;host=inner',
        { ip: '203.0.113.9', host: 'b.example' },
      ],
      ['for=1.1.1.1, for="10.9.9.9", for=_x, for=10.1.2.4', { ip: '_x' }],
      ['for=10.1.2.3;proto=https, for=10.1.2.4', { ip: '10.1.2.3', secure: true }],
      [['for=1.1.1.1', 'for=203.0.113.9', 'for=10.1.2.4'], { ip: '203.0.113.9' }],
      ['for=203.0.113.9;note="a, for=10.0.0.1;proto=https"', { ip: '203.0.113.9' }],
      // What a client invents does not reach past the element that the proxy appends.
      ['for="1.1.1.1, for=203.0.113.9', { ip: '203.0.113.9' }],
      ['for=1.1.1.1;x="\\", for=203.0.113.9;proto=https', { ip: '203.0.113.9', secure: true }],
      [['for="', 'for=203.0.113.9'], { ip: '203.0.113.9' }],
      [`${'for=10.0.0.1,'.repeat(900)}for=203.0.113.9`, { ip: '203.0.113.9' }],
      [`${','.repeat(14_000)}"`, { ip: 'unknown' }],
      // Where it makes no sense, the client is nobody's address, and never a proxy's.
      ['for="127.0.0.1', { ip: 'unknown' }],
      ['for=2001:db8::1', { ip: 'unknown' }],
      ['for="2001:db8::1"', { ip: 'unknown' }],
      ['for=999.0.0.1', { ip: 'unknown' }],
      ['for=127.0.0.1;for=10.0.0.1', { ip: 'unknown' }],
      ['for=127.0.0.1 secret', { ip: 'unknown' }],
      ['for="; DROP TABLE", for=10.0.0.1', { ip: 'unknown' }],
      ['for=203.0.113.9;proto=javascript;host="a b/c"', { ip: '203.0.113.9' }],
      ['"for=127.0.0.1", for=10.0.0.1', { ip: 'unknown' }],
    ] as const) {
      const { seen } = await ask({ localAddress: '127.0.0.2' }, { Forwarded: says as string });
      expect(seen, String(says).slice(0, 100)).to.include({ ...own, ...expected });
    }
    const lie = { Forwarded: 'for=203.0.113.9;proto=https;host=shop.example' };
    expect((await ask({ localAddress: '127.0.0.3' }, lie)).seen).to.include({ ...own, ip: '127.0.0.3' });
  });

  it('ignores Forwarded beside an X-Forwarded- header: most proxies write that one, and pass on what a client sends', async () => {
    const Forwarded = 'for=10.0.0.1;proto=https;host=evil.example';
    for (const proxy of ['yes', 'list:127.0.0.2']) {
      await start(proxy);
      const both = { Forwarded, 'X-Forwarded-For': '1.1.1.1, 203.0.113.9' };
      expect((await ask({ localAddress: '127.0.0.2' }, both)).seen).to.include({
        ip: '203.0.113.9',
        secure: false,
        host: 'a.example',
      });
      const proto = { Forwarded, 'X-Forwarded-Proto': 'http' };
      expect((await ask({ localAddress: '127.0.0.2' }, proto)).seen).to.include({
        ip: '127.0.0.2',
        secure: false,
      });
      const alone = { Forwarded: 'for=10.0.0.1, for="203.0.113.9:80";proto=https' };
      expect((await ask({ localAddress: '127.0.0.2' }, alone)).seen).to.include({
        ip: '203.0.113.9',
        secure: true,
      });
      await server!.close();
    }
    await start('yes');
  });

  it('counts the rate of the client that a trusted peer names, and of any other peer itself', async () => {
    await start('list:127.0.0.2', '[limits]\nrate=int:1\nrate_window=int:3600');
    const count = async (localAddress: string, client: string) =>
      (await ask({ localAddress }, { 'X-Forwarded-For': client })).status;
    expect(await count('127.0.0.2', '203.0.113.1')).to.equal(200);
    expect(await count('127.0.0.2', '203.0.113.2')).to.equal(200);
    expect(await count('127.0.0.2', '203.0.113.1')).to.equal(429);
    expect(await count('127.0.0.3', '203.0.113.3')).to.equal(200);
    expect(await count('127.0.0.3', '203.0.113.4')).to.equal(429);
  });

  it('is no reason for a warning on an address that other machines reach', async () => {
    for (const [proxy, count] of [
      ['127.0.0.2', 0],
      ['0.0.0.0/0', 1],
      ['yes', 1],
    ] as const) {
      await start(proxy, 'bindto=0.0.0.0');
      const warnings = server!.logs.filter(({ msg }) => msg.includes('can claim any client address'));
      expect(warnings, proxy).to.have.length(count);
      if (proxy !== 'yes') await server!.close();
    }
  });
});

function portOf({ host: { address } }: TestServer): number {
  return typeof address === 'string' ? 0 : address.port;
}
