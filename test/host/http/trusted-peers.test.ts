import { request } from 'node:http';
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
    headers: Readonly<Record<string, string>> = forwarded,
  ): Promise<{ status: number; seen: Seen }> {
    const port = 'socketPath' in from ? {} : { host: '127.0.0.1', port: portOf(server!) };
    return new Promise((resolve, reject) => {
      const sent = request({ ...port, ...from, path: '/seen', headers: { Host: 'a.example', ...headers } });
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
  });

  for (const { says, ip } of [
    { says: '1.1.1.1, 203.0.113.9', ip: '203.0.113.9' },
    { says: '1.1.1.1, 203.0.113.9, 10.1.2.3', ip: '203.0.113.9' },
    { says: '1.1.1.1, 10.9.9.9, 203.0.113.9, 10.1.2.3:4001,10.1.2.4', ip: '203.0.113.9' },
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
