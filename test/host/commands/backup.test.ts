import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { mountDisk } from '../../support/disk.js';
import { countOneMore, emptyFreeList } from '../../support/free-pages.js';
import {
  hello,
  program,
  runCommand,
  runProgram,
  type ServerProcess,
  startHello,
} from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

/** Beside what `hello` does: keeps numbers. */
const plugin = hello()
  .replace('router, metrics }', 'router, metrics, storage }')
  .replace(
    'const count',
    `const numbers = storage('numbers');
    router.post('/numbers/:n', async (ctx) => {
      await numbers.set(ctx.params.n, Number(ctx.params.n));
      ctx.status = 204;
    });
    router.get('/numbers', async (ctx) => {
      ctx.body = [];
      for await (const [, n] of numbers.entries()) ctx.body.push(n);
    });
    const count`,
  );

describe('plugin-server backup', () => {
  it('copies what plugins have stored while two workers write, and the copy can take its place', async () => {
    const options = { ini: '[network]\nworkers=int:2\n', files: { 'plugins/hello.js': plugin } };
    const server = await startHello(options);
    let copied: ServerProcess | undefined;
    try {
      const acknowledged: number[] = [];
      let isCopying = true;
      const writers = [0, 1, 2, 3].map(async (first) => {
        for (let n = first; isCopying; n += 4) {
          const { status } = await server.fetch(`/hello/numbers/${n}`, { method: 'POST' });
          expect(status).to.equal(204);
          acknowledged.push(n);
        }
      });
      while (acknowledged.length < 200) await sleep(2);
      const before = [...acknowledged];
      const { status, stdout, stderr } = await server
        .command('backup', 'copies/today')
        .then(async (refused) => {
          expect(refused.stderr).to.equal(
            'plugin-server: the storage cannot be copied to copies/today: ENOENT\n',
          );
          await mkdir(join(server.folder, 'copies'));
          return server.command('backup', 'copies/today');
        });
      isCopying = false;
      await Promise.all(writers);
      const copy = join(server.folder, 'copies/today');
      expect({ status, stdout, stderr }).to.deep.equal({
        status: 0,
        stdout: `the plugins' storage is copied to ${copy}\n`,
        stderr: '',
      });
      expect((await stat(copy)).mode & 0o777).to.equal(0o700);
      const again = await server.command('backup', 'copies/today');
      expect(again).to.include({
        status: 1,
        stderr: 'plugin-server: copies/today already exists; name a new folder\n',
      });

      const folder = await makeFolder();
      await cp(copy, join(folder, 'data/_storage'), { recursive: true });
      copied = await startHello({ ...options, folder });
      const kept = new Set((await copied.json('/hello/numbers')) as unknown as number[]);
      expect(before.filter((n) => !kept.has(n))).to.deep.equal([]);
      expect(kept.size).to.be.at.most(acknowledged.length);
    } finally {
      await server.close();
      await copied?.close();
    }
  });

  it('writes no copy for which its disk has no space left', async function () {
    const server = await startHello({ files: { 'plugins/hello.js': plugin } });
    const disk = mountDisk(join(server.folder, 'disk'), '16k');
    try {
      if (!disk) this.skip();
      for (let n = 0; n < 100; n++) await server.fetch(`/hello/numbers/${n}`, { method: 'POST' });
      const { status, stderr } = await server.command('backup', 'disk/copy');
      expect(status).to.equal(1);
      expect(stderr).to.equal(
        `plugin-server: the copy takes up to 1 MiB, and ${join(server.folder, 'disk')} has 0 MiB left\n`,
      );
      expect(existsSync(join(server.folder, 'disk/copy'))).to.equal(false);
    } finally {
      disk?.unmount();
      await server.close();
    }
  });

  it('copies a file whose list of free pages is damaged', async () => {
    const server = await startHello({ files: { 'plugins/hello.js': plugin } });
    let copied: ServerProcess | undefined;
    try {
      for (let n = 0; n < 100; n++) await server.fetch(`/hello/numbers/${n}`, { method: 'POST' });
      server.signal('SIGTERM');
      await server.exited;
      const path = join(server.folder, 'data/_storage/storage.mdb');
      const file = await readFile(path);
      emptyFreeList(file);
      await writeFile(path, file);
      const { status, stderr } = await server.command('backup', 'copy');
      expect([status, stderr]).to.deep.equal([0, '']);
      const folder = await makeFolder();
      await cp(join(server.folder, 'copy'), join(folder, 'data/_storage'), { recursive: true });
      copied = await startHello({ files: { 'plugins/hello.js': plugin }, folder });
      expect(await copied.json<unknown>('/hello/numbers')).to.have.length(100);
    } finally {
      await server.close();
      await copied?.close();
    }
  });

  it('says why a file cannot be copied, and leaves no part of a copy', async () => {
    const server = await startHello({ files: { 'plugins/hello.js': plugin } });
    try {
      for (let n = 0; n < 10; n++) await server.fetch(`/hello/numbers/${n}`, { method: 'POST' });
      server.signal('SIGTERM');
      await server.exited;
      const path = join(server.folder, 'data/_storage/storage.mdb');
      const sound = await readFile(path);
      const damaged = Buffer.from(sound);
      countOneMore(damaged, 'entries');
      const refusals: [Buffer, string, RegExp][] = [
        [
          damaged,
          'unlimited',
          /^plugin-server: the file is damaged: of the 11 entries of its database "entries", 10 can be copied\. Stop the server and copy its folder as it is\.\n$/,
        ],
        // LMDB itself says so, too.
        [
          sound,
          '12',
          /plugin-server: the storage cannot be copied to copy: File too large[^\n]*\. Stop the server and copy data\/_storage instead\n$/,
        ],
      ];
      for (const [file, limit, told] of refusals) {
        await writeFile(path, file);
        const command = [process.execPath, program, 'backup', 'copy'];
        const run = ['-c', `ulimit -f ${limit}; exec "$@"`, 'bash', ...command];
        const { status, stdout, stderr } = await runProgram('bash', run, server.folder);
        expect([status, stdout]).to.deep.equal([1, '']);
        expect(stderr).to.match(told);
        expect(existsSync(join(server.folder, 'copy'))).to.equal(false);
      }
    } finally {
      await server.close();
    }
  });

  it('says where there is nothing to copy', async () => {
    const folder = await makeFolder();
    try {
      for (const [ini, message] of [
        ['', 'data/_storage does not exist: no plugin has stored anything yet'],
        [
          '[storage]\nserver_url=db.example.org:27017\n',
          '[storage] keeps the values of plugins in MongoDB; back up that database with mongodump',
        ],
      ] as const) {
        await writeFiles(folder, { 'plugin-server.ini': ini });
        expect(await runCommand(folder, 'backup', 'copy')).to.deep.equal({
          status: 1,
          stdout: '',
          stderr: `plugin-server: ${message}\n`,
        });
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
