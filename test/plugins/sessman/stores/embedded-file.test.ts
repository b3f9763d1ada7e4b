import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError } from '../../../../config/index.js';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { startServer } from '../../../support/server.js';

/** That this process has read from files so far, whether they were cached or not. */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)/m.exec(await readFile('/proc/self/io', 'utf8'))![1]);
}

describe("a damaged embedded store's start", () => {
  let folder: string;
  let file: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    const store = EmbeddedStore.open(join(folder, 'data/sessman/store'));
    const sessions = new Sessions(store, {
      idleTimeout: 60,
      absoluteTimeout: 0,
      maxData: 20_000,
      maxPerUser: 0,
    });
    for (let n = 0; n < 300; n++)
      await sessions.create(`user${n}`, { filling: 'x'.repeat(n % 10 ? 200 : 9000) });
    await store.close();
    file = join(folder, 'data/sessman/store/sessions.mdb');
  });
  after(() => rm(folder, { recursive: true }));

  const damages: [string, (whole: Buffer) => Promise<void>][] = [
    ['cut in half', (whole) => truncate(file, Math.floor(whole.length / 8192) * 4096)],
    ['cut within a page', (whole) => truncate(file, Math.floor(whole.length / 2) + 100)],
    ['cut after its first page', () => truncate(file, 4096)],
    ['emptied', () => truncate(file, 0)],
    ['removed', () => unlink(file)],
    ['overwritten with noise', (whole) => writeFile(file, randomBytes(whole.length))],
    ['overwritten with zeros', (whole) => writeFile(file, Buffer.alloc(whole.length))],
    ['overwritten with text', () => writeFile(file, 'not a store '.repeat(1000))],
    ['overwritten with noise from its third page on', (whole) => overwrite(whole, 8192, whole.length - 8192)],
    [
      'overwritten with noise in its second half',
      (whole) => overwrite(whole, whole.length >> 1, whole.length >> 1),
    ],
    ['overwritten with noise in its second meta page', (whole) => overwrite(whole, 4096, 4096)],
    ['changed in the name of a database', (whole) => rename(whole, 'records', 'recorfs')],
  ];

  async function overwrite(whole: Buffer, from: number, length: number): Promise<void> {
    const damaged = Buffer.from(whole);
    randomBytes(length).copy(damaged, from);
    await writeFile(file, damaged);
  }

  async function rename(whole: Buffer, name: string, to: string): Promise<void> {
    const damaged = Buffer.from(whole);
    for (let at = damaged.indexOf(name); at >= 0; at = damaged.indexOf(name, at)) damaged.write(to, at);
    await writeFile(file, damaged);
  }

  for (const [what, damage] of damages) {
    it(`is refused with a clear message, and the file left alone: ${what}`, async () => {
      const whole = await readFile(file);
      await damage(whole);
      const damaged = await readFile(file).catch(() => undefined);
      try {
        const started = await startServer({ folder }).then(
          async (server) => server.close(),
          (error: unknown) => error,
        );
        expect(started).to.be.instanceOf(ConfigError);
        const { problems } = started as ConfigError;
        expect(problems).to.have.length(1);
        expect(problems[0]!.message)
          .to.match(/is damaged \(.+\) and was left as it is|is empty, although|is gone, although/)
          .and.to.include(file)
          .and.to.match(/Put a backup in its place, or (?:move it away|remove .*) to start without sessions/)
          .and.not.to.include('cannot be opened: the session store');
        expect(await readFile(file).catch(() => undefined)).to.deep.equal(damaged);
      } finally {
        await writeFile(file, whole);
      }
    });
  }

  it('is none of what a crash leaves behind: part of a page that is not in use yet', async () => {
    const whole = await readFile(file);
    await writeFile(file, Buffer.concat([whole, randomBytes(1000)]));
    const server = await startServer({ folder });
    expect((await server.fetch('/sessman/list?userid=user7')).status).to.equal(200);
    await server.close();
    await writeFile(file, whole);
  });

  it('works again with the whole file', async () => {
    const server = await startServer({ folder });
    expect((await server.fetch('/readyz')).status).to.equal(200);
    await server.close();
  });

  it('reads a sample of a large file, so that a start takes no longer with more sessions', async () => {
    const large = join(folder, 'large');
    const store = EmbeddedStore.open(large);
    const sessions = new Sessions(store, {
      idleTimeout: 60,
      absoluteTimeout: 0,
      maxData: 20_000,
      maxPerUser: 0,
    });
    const data = { filling: 'x'.repeat(1500) };
    await Promise.all(Array.from({ length: 12_000 }, (_, n) => sessions.create(`user${n}`, data)));
    await store.close();
    const before = await bytesRead();
    await EmbeddedStore.open(large).close();
    expect((await bytesRead()) - before).below(8_000_000);
  });

  it('tells the system not to read ahead, since sessions are used in no order', async () => {
    const store = EmbeddedStore.open(join(folder, 'random'));
    const maps = (await readFile('/proc/self/smaps', 'utf8')).split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const [map] = maps.filter((each) => each.includes(join(folder, 'random/sessions.mdb\n')));
    await store.close();
    expect(/^VmFlags:.*/m.exec(map!)?.[0]).to.match(/ rr\b/);
  });

  it('refuses a store of a format to come', async () => {
    const mark = join(folder, 'data/sessman/store/store.json');
    const text = await readFile(mark, 'utf8');
    await writeFile(mark, '{"store":"sessman","format":3}');
    expect(() => EmbeddedStore.open(join(folder, 'data/sessman/store'))).to.throw(
      /format 3; .* reads formats 1 and 2/,
    );
    await writeFile(mark, text);
  });

  it('refuses a folder that is a file', async () => {
    await writeFile(join(folder, 'plain'), '');
    expect(() => EmbeddedStore.open(join(folder, 'plain'))).to.throw(
      /cannot be created: .* set path to another folder \(EEXIST\)/,
    );
    expect(() => EmbeddedStore.open(join(folder, 'plain/below'))).to.throw(
      /cannot be created: .* \(ENOTDIR\)/,
    );
  });
});
