import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { requestRaw } from '../../support/raw.js';
import { makeFolder, startServer, type TestServer, writeFiles } from '../../support/server.js';

describe('serving files', () => {
  let server: TestServer;

  before(async () => {
    server = await startServer({
      ini: '[file_server]\ndocuments=html:public\n',
      files: {
        'public/index.html': '<h1>Start</h1>',
        'public/hello.txt': 'hello, world',
        'public/empty.txt': '',
        'public/style.css': 'a{}',
        'public/app.js': '1',
        'public/data.json': '{}',
        'public/picture.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
        'public/LICENSE': 'do as you like',
        'public/strange.xyzzy': '?',
        'public/with space & ümlaut.txt': 'odd name',
        'public/percent%2e.txt': 'percent',
        'public/sub/index.html': 'sub',
        'public/sub/deep/page.txt': 'deep',
      },
    });
  });

  after(() => server.close());

  const file = (name: string) => join(server.folder, 'public', name);

  it('answers with content, type, length and validators', async () => {
    const answer = await server.fetch('/html/hello.txt');
    expect(answer.status).to.equal(200);
    expect(await answer.text()).to.equal('hello, world');
    expect(Object.fromEntries(answer.headers)).to.include({
      'content-type': 'text/plain; charset=utf-8',
      'content-length': '12',
      'cache-control': 'no-cache',
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
    });
    expect(answer.headers.get('etag')).to.match(/^"[\w-]+"$/);
    expect(Date.parse(answer.headers.get('last-modified') ?? '')).to.be.closeTo(Date.now(), 60_000);
  });

  for (const [name, type] of [
    ['style.css', 'text/css; charset=utf-8'],
    ['app.js', 'text/javascript; charset=utf-8'],
    ['data.json', 'application/json; charset=utf-8'],
    ['picture.svg', 'image/svg+xml'],
    ['index.html', 'text/html; charset=utf-8'],
    ['LICENSE', 'application/octet-stream'],
    ['strange.xyzzy', 'application/octet-stream'],
  ] as const) {
    it(`sends ${name} as ${type}`, async () => {
      const answer = await server.fetch(`/html/${name}`);
      expect(answer.headers.get('content-type')).to.equal(type);
    });
  }

  it('finds names with spaces, letters beyond ASCII and percent signs', async () => {
    expect(await (await server.fetch('/html/with%20space%20&%20%C3%BCmlaut.txt')).text()).to.equal(
      'odd name',
    );
    expect(await (await server.fetch('/html/percent%252e.txt')).text()).to.equal('percent');
  });

  it('sends an empty file', async () => {
    const answer = await server.fetch('/html/empty.txt');
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('content-length')).to.equal('0');
    expect(await answer.text()).to.equal('');
  });

  it('answers HEAD as GET, without the content', async () => {
    for (const name of ['hello.txt', 'empty.txt', '']) {
      const get = await server.fetch(`/html/${name}`);
      const head = await server.fetch(`/html/${name}`, { method: 'HEAD' });
      expect(head.status).to.equal(200);
      expect(await head.text()).to.equal('');
      for (const header of ['content-type', 'content-length', 'etag', 'last-modified', 'accept-ranges']) {
        expect(head.headers.get(header), `${name} ${header}`).to.equal(get.headers.get(header));
      }
    }
  });

  it('refuses other methods with 405 and says which there are', async () => {
    const answer = await server.fetch('/html/hello.txt', { method: 'DELETE' });
    expect(answer.status).to.equal(405);
    expect(answer.headers.get('allow')).to.contain('GET').and.contain('HEAD');
  });

  it('answers a folder with its index file', async () => {
    expect(await (await server.fetch('/html/')).text()).to.equal('<h1>Start</h1>');
    expect(await (await server.fetch('/html/sub/')).text()).to.equal('sub');
  });

  it('leads a folder without its slash to the one with it, the query kept', async () => {
    const answer = await server.fetch('/html/sub?a=1&b=2', { redirect: 'manual' });
    expect(answer.status).to.equal(301);
    expect(new URL(answer.headers.get('location') ?? '', `${server.url}/html/sub`).href).to.equal(
      `${server.url}/html/sub/?a=1&b=2`,
    );
    const root = await server.fetch('/html', { redirect: 'follow' });
    expect(root.url).to.equal(`${server.url}/html/`);
    expect(await root.text()).to.equal('<h1>Start</h1>');
  });

  it('has no list of a folder without index file', async () => {
    for (const path of ['/html/sub/deep', '/html/sub/deep/']) {
      const answer = await server.fetch(path, { redirect: 'manual' });
      expect(answer.status).to.equal(404);
      expect(await answer.json()).to.include({ code: 'not_found' });
    }
  });

  it('follows links that stay inside', async () => {
    await symlink('hello.txt', file('inner-link.txt'));
    await symlink('sub', file('inner-folder'));
    expect(await (await server.fetch('/html/inner-link.txt')).text()).to.equal('hello, world');
    expect(await (await server.fetch('/html/inner-folder/deep/page.txt')).text()).to.equal('deep');
  });

  /** The served files that this process holds open. */
  const openFiles = async () => {
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    return links.filter((link) => link.startsWith(join(server.folder, 'public')));
  };

  it('closes each file that it opened', async () => {
    for (const [path, init] of [
      ['/html/hello.txt', {}],
      ['/html/hello.txt', { method: 'HEAD' }],
      ['/html/hello.txt', { headers: { range: 'bytes=1-2' } }],
      ['/html/hello.txt', { headers: { range: 'bytes=100-' } }],
      ['/html/hello.txt', { headers: { 'if-none-match': '*' } }],
      ['/html/hello.txt', { headers: { 'if-match': '"x"' } }],
      ['/html/hello.txt/', {}],
      ['/html/empty.txt', {}],
      ['/html/sub', { redirect: 'manual' }],
      ['/html/sub/', {}],
    ] as [string, RequestInit][]) {
      await (await server.fetch(path, init)).arrayBuffer();
    }
    expect(await openFiles()).to.deep.equal([]);
  });

  it('closes a file whose reader has gone away', async () => {
    const handle = await open(file('long.bin'), 'w');
    await handle.truncate(64 * 1024 * 1024);
    await handle.close();
    const abort = new AbortController();
    const answer = await server.fetch('/html/long.bin', { signal: abort.signal });
    await answer.body?.getReader().read();
    expect(await openFiles()).to.have.length(1);
    abort.abort();
    while ((await openFiles()).length > 0);
  });

  describe('a client that breaks a download off', () => {
    let other: TestServer;

    before(async () => {
      const words = 'word and *more* `code` '.repeat(20_000);
      other = await startServer({
        ini: '[file_server]\ndocuments=html:public\n',
        files: { 'public/page.md': words, 'public/small.txt': 'small' },
      });
      const handle = await open(join(other.folder, 'public/long.bin'), 'w');
      await handle.truncate(64 * 1024 * 1024);
      await handle.close();
    });

    after(() => other.close());

    const request = (path: string, ...fields: string[]) =>
      `GET /html/${path} HTTP/1.1\r\n${['Host: localhost', ...fields].join('\r\n')}\r\n\r\n`;
    for (const [name, text, leave] of [
      ['closes', request('long.bin'), 'destroy'],
      ['resets', request('long.bin'), 'resetAndDestroy'],
      ['closes within a range', request('long.bin', 'Range: bytes=5-'), 'destroy'],
      ['resets within a range', request('long.bin', 'Range: bytes=-40000000'), 'resetAndDestroy'],
      ['closes after two requests', request('long.bin').repeat(2), 'destroy'],
      ['resets after two requests', request('long.bin').repeat(2), 'resetAndDestroy'],
      [
        'resets after requests of several kinds',
        request('small.txt') + request('long.bin'),
        'resetAndDestroy',
      ],
      ['closes with HTTP/1.0', 'GET /html/long.bin HTTP/1.0\r\n\r\n', 'destroy'],
      ['resets with Connection: close', request('long.bin', 'Connection: close'), 'resetAndDestroy'],
    ] as const) {
      it(`and ${name} the connection is no error in the log`, async () => {
        const before = other.logs.length;
        const socket = connect(Number(new URL(other.url).port), '127.0.0.1');
        socket.on('error', () => {});
        socket.write(text);
        await once(socket, 'data');
        socket[leave]();
        while (!other.logs.slice(before).some(({ aborted }) => aborted === true)) await sleep(2);
        await (await other.fetch('/html/small.txt')).text();
        expect(other.logs.slice(before).map(({ level, msg }) => `${level}: ${msg}`)).to.satisfy(
          (lines: string[]) => lines.every((line) => line === 'info: request'),
        );
      });
    }

    it('and resets the connection before its page is rendered is no error in the log', async () => {
      const before = other.logs.length;
      const socket = connect(Number(new URL(other.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write(request('page.md'));
      await (await other.fetch('/html/small.txt')).text();
      socket.resetAndDestroy();
      expect((await other.fetch('/html/page.md')).status).to.equal(200);
      expect(other.logs.slice(before).filter(({ level }) => level !== 'info')).to.deep.equal([]);
    });
  });

  describe('a connection that sends requests and reads no answer', () => {
    for (const [name, head] of [
      ['files', 'GET /html/long.bin HTTP/1.1\r\nHost: localhost\r\n\r\n'],
      ['ranges', 'GET /html/long.bin HTTP/1.1\r\nHost: localhost\r\nRange: bytes=5-\r\n\r\n'],
      ['folders', 'GET /html/long/ HTTP/1.1\r\nHost: localhost\r\n\r\n'],
      ['refused versions', 'GET /html/long.bin HTTP/1.1\r\nHost: localhost\r\nIf-Match: "x"\r\n\r\n'],
    ] as const) {
      it(`opens few ${name} at once, and leaves none open when it closes`, async () => {
        await mkdir(file('long'), { recursive: true });
        for (const path of ['long.bin', 'long/index.html']) {
          const handle = await open(file(path), 'w');
          await handle.truncate(64 * 1024 * 1024);
          await handle.close();
        }
        const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
        await once(socket, 'connect');
        socket.write(head.repeat(1500));
        await once(socket, 'readable');
        let most = 0;
        // Answers to others, one after another, are time enough for all that would be opened.
        for (let request = 0; request < 100; request += 1) {
          await (await server.fetch('/html/hello.txt')).text();
          most = Math.max(most, (await openFiles()).length);
        }
        expect(most).to.be.lessThan(5);
        socket.destroy();
        while ((await openFiles()).length > 0);
      });
    }
  });

  it('answers 503 while the process has no descriptor left, and serves again when it has', async () => {
    const script = new URL('support/without-descriptors.js', import.meta.url);
    const limited = ['-c', 'ulimit -n 200; exec "$0" "$1"', process.execPath, fileURLToPath(script)];
    const { stdout } = await promisify(execFile)('sh', limited);
    const { without, again } = JSON.parse(stdout);
    expect(without).to.include({ status: 503, retryAfter: '2' });
    expect(JSON.parse(without.body)).to.include({ code: 'too_many_open_files' });
    expect(again).to.include({ status: 200, body: 'hello' });
  });

  describe('conditions', () => {
    // Not by fetch, which adds a Cache-Control of its own to conditional requests.
    const get = (headers: Record<string, string>) => requestRaw(server.url, '/html/hello.txt', { headers });
    let etag: string;
    let modified: string;

    before(async () => {
      const { headers } = await get({});
      etag = headers.get('etag') ?? '';
      modified = headers.get('last-modified') ?? '';
    });

    it('If-None-Match with the tag, a list with it, its weak form, or * is a 304 with the validators', async () => {
      for (const value of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
        const answer = await get({ 'if-none-match': value });
        expect(answer.status, value).to.equal(304);
        expect(answer.body).to.equal('');
        expect(answer.headers.get('etag')).to.equal(etag);
        expect(answer.headers.get('cache-control')).to.equal('no-cache');
        expect(answer.headers.has('content-length')).to.equal(false);
      }
    });

    it('If-None-Match with another tag is a 200', async () => {
      expect((await get({ 'if-none-match': '"other"' })).status).to.equal(200);
    });

    it('If-Modified-Since goes by the time, and gives way to If-None-Match', async () => {
      expect((await get({ 'if-modified-since': modified })).status).to.equal(304);
      expect((await get({ 'if-modified-since': new Date(0).toUTCString() })).status).to.equal(200);
      expect((await get({ 'if-modified-since': modified, 'if-none-match': '"other"' })).status).to.equal(200);
    });

    it('If-Match and If-Unmodified-Since that do not hold are a 412', async () => {
      for (const [name, value] of [
        ['if-match', '"other"'],
        ['if-unmodified-since', new Date(0).toUTCString()],
      ] as const) {
        const answer = await get({ [name]: value });
        expect(answer.status).to.equal(412);
        expect(JSON.parse(answer.body)).to.include({ code: 'precondition_failed' });
      }
      for (const value of [etag, '*', `"other", ${etag}`])
        expect((await get({ 'if-match': value })).status).to.equal(200);
      expect((await get({ 'if-unmodified-since': modified })).status).to.equal(200);
    });

    it('If-Match compares whole tags, and a weak one never matches', async () => {
      for (const value of [
        `W/${etag}`,
        `W/${etag}, "other"`,
        etag.replaceAll('"', ''),
        etag.slice(0, -1),
        `"a,${etag.slice(1)}`,
        `"x" ${etag}`,
        `'${etag}'`,
        ',',
        `w/${etag}`,
        '"*"',
      ]) {
        expect((await get({ 'if-match': value })).status, value).to.equal(412);
      }
      for (const value of [`,, ${etag} ,`, `"a,b", ${etag}`, `W/"x",${etag},"y"`, `${etag}\t,"z"`]) {
        expect((await get({ 'if-match': value })).status, value).to.equal(200);
      }
    });

    it('If-None-Match compares whole tags, a weak one as a strong one', async () => {
      for (const value of [`W/"a,b", W/${etag}`, `"",${etag}`, `, ,${etag}`]) {
        expect((await get({ 'if-none-match': value })).status, value).to.equal(304);
      }
      for (const value of [etag.replaceAll('"', ''), `"a,${etag.slice(1)}`, `w/${etag}`, '"*"', ',']) {
        expect((await get({ 'if-none-match': value })).status, value).to.equal(200);
      }
    });

    it('a date that is not an HTTP date counts as absent', async () => {
      for (const value of [
        '1',
        '0',
        'yesterday',
        '1994-11-06',
        '1994-11-06T08:49:37Z',
        'Nov 6 1994',
        'Sun, 06 Nov 1994 08:49:37',
        'Sun, 06 Nov 1994 08:49:37 +0000',
        'Sun, 6 Nov 1994 08:49:37 GMT',
        'Sun, 06 nov 1994 08:49:37 GMT',
        'x Sun, 06 Nov 1994 08:49:37 GMT',
      ]) {
        expect((await get({ 'if-unmodified-since': value })).status, value).to.equal(200);
      }
      for (const value of ['2099', '1 Jan 2099', '2099-01-01T00:00:00Z', 'Thu, 01 Jan 2099 00:00:00 +0000']) {
        expect((await get({ 'if-modified-since': value })).status, value).to.equal(200);
      }
    });

    it('all three forms of an HTTP date count', async () => {
      for (const value of [
        'Sun, 06 Nov 1994 08:49:37 GMT',
        'Sunday, 06-Nov-94 08:49:37 GMT',
        'Sun Nov  6 08:49:37 1994',
      ]) {
        expect((await get({ 'if-unmodified-since': value })).status, value).to.equal(412);
      }
      for (const value of ['Thu, 01 Jan 2099 00:00:00 GMT', 'Thu Jan  1 00:00:00 2099']) {
        expect((await get({ 'if-modified-since': value })).status, value).to.equal(304);
      }
    });

    it('a changed file has another tag, even one of the same length', async () => {
      await writeFile(file('changing.txt'), 'one');
      const first = await server.fetch('/html/changing.txt');
      await writeFile(file('changing.txt'), 'two');
      await utimes(file('changing.txt'), new Date(), new Date(Date.now() + 5));
      const second = await server.fetch('/html/changing.txt', {
        headers: { 'if-none-match': first.headers.get('etag') ?? '' },
      });
      expect(second.status).to.equal(200);
      expect(await second.text()).to.equal('two');
    });
  });

  describe('ranges', () => {
    const get = (range: string, headers: Record<string, string> = {}) =>
      server.fetch('/html/hello.txt', { headers: { range, ...headers } });

    for (const [range, text, contentRange] of [
      ['bytes=0-4', 'hello', 'bytes 0-4/12'],
      ['bytes=7-', 'world', 'bytes 7-11/12'],
      ['bytes=-5', 'world', 'bytes 7-11/12'],
      ['bytes=-100', 'hello, world', 'bytes 0-11/12'],
      ['bytes=10-100', 'ld', 'bytes 10-11/12'],
      ['bytes=0-0', 'h', 'bytes 0-0/12'],
      ['Bytes=0-0', 'h', 'bytes 0-0/12'],
      ['bytes=, 0-0 ,', 'h', 'bytes 0-0/12'],
      ['bytes=00-0000000000000000000000000000001', 'he', 'bytes 0-1/12'],
      [`bytes=0-${'9'.repeat(400)}`, 'hello, world', 'bytes 0-11/12'],
    ] as const) {
      it(`${range.slice(0, 50)} is ${contentRange}`, async () => {
        const answer = await get(range);
        expect(answer.status).to.equal(206);
        expect(await answer.text()).to.equal(text);
        expect(answer.headers.get('content-range')).to.equal(contentRange);
        expect(answer.headers.get('content-length')).to.equal(String(text.length));
      });
    }

    for (const range of [
      'bytes=0-1,8-9',
      'lines=1-2',
      'bytes=x-y',
      'bytes',
      'bytes=-',
      'bytes=5-2',
      'bytes=1.5-2',
      'b ytes=0-1',
      'bytes =0-1',
      'bytes=0 -1',
      'bytes=0- 1',
      'bytes=- 1',
      'bytes=0-1-2',
      'bytes=+0-1',
      'bytes=0x0-0x1',
      'bytes=-1 -2',
      'bytes 0-1',
      'bytes:0-1',
    ]) {
      it(`${range} is the whole file`, async () => {
        const answer = await get(range);
        expect(answer.status).to.equal(200);
        expect(await answer.text()).to.equal('hello, world');
      });
    }

    for (const range of ['bytes=12-', 'bytes=100-200', 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
      it(`${range.slice(0, 50)} is a 416 that tells the length`, async () => {
        const answer = await get(range);
        expect(answer.status).to.equal(416);
        expect(answer.headers.get('content-range')).to.equal('bytes */12');
        expect(answer.headers.has('etag')).to.equal(false);
        expect(await answer.json()).to.include({ code: 'range_not_satisfiable' });
      });
    }

    it('of an empty file is a 416', async () => {
      const answer = await server.fetch('/html/empty.txt', { headers: { range: 'bytes=0-' } });
      expect(answer.status).to.equal(416);
      expect(answer.headers.get('content-range')).to.equal('bytes */0');
    });

    it('holds only for the version that If-Range names', async () => {
      // A time is no sure sign of the version within the second of the change.
      await utimes(file('hello.txt'), new Date(), new Date(Date.now() - 5000));
      const { headers } = await server.fetch('/html/hello.txt');
      for (const value of [headers.get('etag'), headers.get('last-modified')]) {
        expect((await get('bytes=0-4', { 'if-range': value ?? '' })).status).to.equal(206);
      }
      for (const value of [
        '"other"',
        `W/${headers.get('etag')}`,
        `"other", ${headers.get('etag')}`,
        '*',
        new Date(0).toUTCString(),
        new Date(Date.parse(headers.get('last-modified') ?? '') + 1000).toUTCString(),
        String(new Date(headers.get('last-modified') ?? '')),
      ]) {
        const answer = await get('bytes=0-4', { 'if-range': value });
        expect(answer.status).to.equal(200);
        expect(await answer.text()).to.equal('hello, world');
      }
    });

    it('HEAD with a range is answered as without it, since ranges are defined for GET alone', async () => {
      for (const range of ['bytes=0-4', 'bytes=100-']) {
        const answer = await server.fetch('/html/hello.txt', { method: 'HEAD', headers: { range } });
        expect(answer.status).to.equal(200);
        expect(answer.headers.get('content-length')).to.equal('12');
        expect(answer.headers.has('content-range')).to.equal(false);
        expect(await answer.text()).to.equal('');
      }
    });
  });

  describe('while files change', () => {
    it('serves a folder exchanged by a link, without a reload', async () => {
      const folder = await makeFolder();
      await symlink('releases/1', join(folder, 'current'));
      const files = { 'releases/1/a.txt': 'first', 'releases/2/a.txt': 'second' };
      await writeFiles(folder, files);
      const other = await startServer({ folder, ini: '[file_server]\ndocuments=site:current\n' });
      try {
        expect(await (await other.fetch('/site/a.txt')).text()).to.equal('first');
        await symlink('releases/2', join(other.folder, 'next'));
        await rename(join(other.folder, 'next'), join(other.folder, 'current'));
        expect(await (await other.fetch('/site/a.txt')).text()).to.equal('second');
      } finally {
        await other.close();
        await rm(folder, { recursive: true });
      }
    });

    it('answers 404 when the folder has gone, and serves again when it is back', async () => {
      await mkdir(file('passing'));
      await writeFile(file('passing/a.txt'), 'here');
      expect((await server.fetch('/html/passing/a.txt')).status).to.equal(200);
      await rm(file('passing'), { recursive: true });
      expect((await server.fetch('/html/passing/a.txt')).status).to.equal(404);
      await mkdir(file('passing'));
      await writeFile(file('passing/a.txt'), 'back');
      expect(await (await server.fetch('/html/passing/a.txt')).text()).to.equal('back');
    });

    it('never serves what a folder exchanged at the wrong moment leads to', async () => {
      const outside = await makeFolder();
      await writeFiles(outside, { 'deep/secret.txt': 'outside' });
      await writeFiles(file('flipping'), { 'deep/secret.txt': 'inside' });
      await symlink(outside, file('flip-link'));
      let asked = 0;
      const seen = new Set<string>();
      const ask = async () => {
        asked += 1;
        const answer = await server.fetch('/html/flipping/deep/secret.txt');
        const body = await answer.text();
        seen.add(answer.ok ? body : String(answer.status));
      };
      const flips = async () => {
        for (let flip = 1; asked < 400; flip += 1) {
          await rename(file('flipping'), file('flip-aside'));
          await rename(file('flip-link'), file('flipping'));
          await rename(file('flipping'), file('flip-link'));
          await rename(file('flip-aside'), file('flipping'));
          if (flip % 20 === 0) await ask();
        }
      };
      const asks = async () => {
        while (asked < 400) await ask();
      };
      await Promise.all([flips(), asks(), asks(), asks(), asks()]);
      seen.delete('404');
      expect([...seen]).to.deep.equal(['inside']);
      await rm(outside, { recursive: true });
    });

    it('breaks the connection off when a file is cut short under a download, and never hangs it', async () => {
      const size = 64 * 1024 * 1024;
      const handle = await open(file('large.bin'), 'w');
      await handle.truncate(size);
      await handle.close();
      const { hostname, port, host } = new URL(server.url);
      const socket = connect(Number(port), hostname);
      socket.write(`GET /html/large.bin HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await once(socket, 'data');
      socket.pause();
      await truncate(file('large.bin'), 1024);
      let received = 0;
      socket.on('data', (chunk) => {
        received += chunk.length;
      });
      socket.on('error', () => {});
      socket.resume();
      await once(socket, 'close');
      expect(received).to.be.lessThan(size);
    });
  });
});
