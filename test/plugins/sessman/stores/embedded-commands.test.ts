import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Database } from 'lmdb';
import type { SessionRecord } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { expiryKey, userKey } from '../../../../plugins/sessman/stores/embedded/keys.js';
import { encodeRecord } from '../../../../plugins/sessman/stores/embedded/record.js';
import { handleBytes } from '../../../../plugins/sessman/stores/embedded/records.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring } from '../../../../plugins/sessman/stores/keyring.js';
import { mountDisk } from '../../../support/disk.js';
import { offerUsedPage } from '../../../support/free-pages.js';
import { childrenOf, runProgram } from '../../../support/process.js';
import { addBallast, behind, recordAt, until } from '../support/embedded.js';

describe("the embedded store's commands", () => {
  let folder: string;
  const now = Date.now();
  const here = () => join(folder, 'store');
  const copy = () => join(folder, 'copy');
  const fileIn = (name: string) => join(name, 'sessions.mdb');
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Puts these records into the store. */
  async function make(records: readonly SessionRecord[], work = async (_: EmbeddedStore) => {}) {
    const store = EmbeddedStore.open(here());
    await Promise.all(records.map((record) => store.insert(record)));
    await work(store);
    await store.close();
  }
  const records = (count: number, change: Partial<SessionRecord> = {}) =>
    Array.from({ length: count }, () => recordAt(now, change));

  /** Changes the file of a store that nobody uses. */
  function change(store: string, edit: (file: Buffer) => void): void {
    const file = readFileSync(fileIn(store));
    edit(file);
    writeFileSync(fileIn(store), file);
  }

  const programs = {
    backup: 'backup',
    restore: 'restore',
    compact: 'compact',
    scrub: 'scrub-command',
  };
  const programOf = (name: keyof typeof programs) =>
    fileURLToPath(
      new URL(`../../../../plugins/sessman/stores/embedded/${programs[name]}.js`, import.meta.url),
    );
  /** In a folder with stores, so that what is named by a relative path is found. */
  const call = (name: keyof typeof programs, ...args: string[]) =>
    runProgram(process.execPath, [programOf(name), ...args], folder);
  const succeeded = (stdout: string) => ({ status: 0, stdout, stderr: '' });
  const failed = (stderr: string) => ({ status: 1, stdout: '', stderr });

  /** How nice a command was at most, beside a test that is so nice. */
  async function nicenessOf(name: keyof typeof programs, least: number): Promise<number> {
    const child = spawn('nice', ['-n', `${least}`, process.execPath, programOf(name), 'store', 'copy'], {
      cwd: folder,
      stdio: 'ignore',
    });
    let nicest = getPriority();
    const ended = once(child, 'exit').then(([status]) => expect(status).to.equal(0));
    while (child.exitCode === null) {
      nicest = Math.max(nicest, getPriority(child.pid));
      await pause(2);
    }
    await ended;
    return nicest;
  }

  describe('sessman-backup', () => {
    it('lets servers have the processor first, unless it was started to have it last', async () => {
      const own = getPriority();
      await make(records(1000));
      expect(await nicenessOf('backup', 0)).to.equal(Math.max(own, 10));
      rmSync(copy(), { recursive: true });
      expect(await nicenessOf('backup', 15)).to.equal(Math.min(19, own + 15));
    });

    it('describes the copy in a file that only its owner can read', async () => {
      const keys = [randomBytes(32), randomBytes(32)].map((key) => new Keyring([key.toString('base64')]));
      await make(records(1000), async (store) => {
        for (const [n, each] of keys.entries()) {
          for (const record of records(n + 1)) await encryptStore(store, each).insert(record);
        }
      });
      const began = new Date().toISOString();
      expect(await call('backup', 'store', 'copy')).to.deep.equal(
        succeeded(`1003 sessions copied to ${copy()}\n`),
      );
      const file = join(copy(), 'backup.json');
      const text = readFileSync(file, 'utf8');
      const manifest = JSON.parse(text);
      expect(text).to.equal(`${JSON.stringify(manifest, undefined, 2)}\n`);
      const { made, ...rest } = manifest;
      expect(made >= began && made <= new Date().toISOString(), made).to.equal(true);
      expect(rest).to.deep.equal({
        format: 2,
        records: 1003,
        keys: { plain: 1000, [keys[0]!.first]: 1, [keys[1]!.first]: 2 },
        sha256: createHash('sha256')
          .update(readFileSync(fileIn(copy())))
          .digest('hex'),
      });
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      expect(readdirSync(copy()).sort()).to.deep.equal(['backup.json', 'sessions.mdb', 'store.json']);
    });

    it('says how many of the sessions are damaged, and copies them', async () => {
      const made = records(3, { data: '{"filling":"yyyyyyyyyyyyyyyy"}' });
      await make(made);
      change(here(), (file) => {
        file.write('z', file.indexOf('yyyyyyyyyyyyyyyy'));
      });
      expect(await call('backup', 'store', 'copy', '--deadline', '60.0005')).to.deep.equal(
        succeeded(
          `3 sessions copied to ${copy()}; 1 of them are damaged in the store, too: sessman-scrub names them\n`,
        ),
      );
    });

    it('leaves a folder that is there already as it is', async () => {
      await make(records(1));
      mkdirSync(copy());
      writeFileSync(join(copy(), 'mine'), '');
      expect(await call('backup', 'store', 'copy', '--deadline', '2147483')).to.deep.equal(
        failed(`sessman-backup: ${copy()} is there already; name a folder that is not\n`),
      );
      expect(readdirSync(copy())).to.deep.equal(['mine']);
    });

    it('removes what it has copied when its time is up', async () => {
      await make(records(1));
      expect(await call('backup', 'store', 'copy', '--deadline', '0.0005')).to.deep.equal(
        failed(
          "sessman-backup: the copy was not complete within 0.0005 s, and was removed. While a copy is made, the store's file grows; --deadline SECONDS gives it more time\n",
        ),
      );
      expect(readdirSync(folder)).to.deep.equal(['store']);
    });

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      it(`removes what it has copied, and says why, when somebody ends the copying by ${signal}`, async () => {
        await make(records(1));
        const running = promisify(execFile)(process.execPath, [programOf('backup'), here(), copy()]);
        const { pid } = running.child;
        const ended = running.catch((error: { code: number; stderr: string }) => error);
        await until(() => childrenOf(pid!).length > 0);
        process.kill(childrenOf(pid!)[0]!, signal);
        expect(await ended).to.deep.include({
          code: 1,
          stderr: `sessman-backup: the copying process ended with ${signal}\n`,
        });
        expect(readdirSync(folder)).to.deep.equal(['store']);
      });
    }

    it('writes no copy for which its disk has no space left, and one that takes less than the store', async function () {
      const disk = join(folder, 'disk');
      const mounted = mountDisk(disk, '1536k');
      if (!mounted) this.skip();
      try {
        const made = records(200, { data: JSON.stringify({ filling: 'x'.repeat(20_000) }) });
        const end = (store: EmbeddedStore, some: typeof made) =>
          store.removeEach(
            some.map(({ handle }) => ({ handle, now })),
            'end',
          );
        let used = 0;
        await make(made, async (store) => {
          await end(store, made.slice(0, 60));
          const { bytes, free } = store.file.size();
          used = bytes - free;
        });
        expect(await call('backup', 'store', 'disk/copy')).to.deep.equal(
          failed(
            `sessman-backup: the copy takes up to ${Math.ceil(used / 1024 ** 2)} MiB, and ${disk} has 1 MiB left\n`,
          ),
        );
        expect(readdirSync(disk)).to.deep.equal([]);
        const store = EmbeddedStore.open(here());
        await end(store, made.slice(60, 190));
        await store.close();
        expect(await call('backup', 'store', 'disk/copy')).to.deep.equal(
          succeeded(`10 sessions copied to ${disk}/copy\n`),
        );
      } finally {
        mounted?.unmount();
      }
    });
  });

  describe('sessman-restore', () => {
    const madeAt = () => JSON.parse(readFileSync(join(copy(), 'backup.json'), 'utf8')).made as string;
    const other = () => join(folder, 'new/other');

    it('returns the sessions that live, and counts none that has expired', async () => {
      await make([...records(3), ...records(2, { touched: now - 10, expires: now - 5 })]);
      await call('backup', 'store', 'copy');
      // What a restore that was killed has left.
      mkdirSync(join(folder, 'new/other.restoring'), { recursive: true });
      writeFileSync(join(folder, 'new/other.restoring/left'), '');
      expect(await call('restore', '--keep-sessions', 'copy', 'new/other')).to.deep.equal(
        succeeded(
          `restored the backup of ${madeAt()}: 3 live sessions return as they were then\nsessions that were ended since are live again, ids that were renewed since are valid again, and later changes are gone\n`,
        ),
      );
      expect(readdirSync(join(folder, 'new'))).to.deep.equal(['other']);
      expect(readdirSync(other()).filter((name) => !name.endsWith('-lock'))).to.deep.equal([
        'sessions.mdb',
        'store.json',
      ]);
      expect(statSync(other()).mode & 0o777).to.equal(0o700);
      const store = EmbeddedStore.open(other());
      expect(await store.list('ann', now)).to.have.length(3);
      await store.close();
    });

    it('ends all sessions unless they are kept, in a folder that it makes', async () => {
      await make([...records(3), ...records(2, { touched: now - 10, expires: now - 5 })]);
      await call('backup', 'store', 'copy');
      expect(await call('restore', 'copy', 'new/other')).to.deep.equal(
        succeeded(`restored the backup of ${madeAt()}: all of its 5 sessions are ended\n`),
      );
      const store = EmbeddedStore.open(other());
      expect(store.count()).to.equal(0);
      await store.close();
    });

    it('keeps the store that was there beside it', async () => {
      await make(records(2));
      await call('backup', 'store', 'copy');
      const before = readFileSync(fileIn(here()));
      const { status, stdout, stderr } = await call('restore', 'copy', 'store');
      expect([status, stderr]).to.deep.equal([0, '']);
      const [kept = ''] = readdirSync(folder).filter((name) => name.startsWith('store.'));
      expect(kept).to.match(/^store\.replaced-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/);
      expect(stdout).to.equal(
        `restored the backup of ${madeAt()}: all of its 2 sessions are ended\nthe store that was there is now ${join(folder, kept)}\n`,
      );
      expect(readFileSync(fileIn(join(folder, kept)))).to.deep.equal(before);
      expect(readdirSync(folder).sort()).to.deep.equal(['copy', 'store', kept]);
    });

    it('takes a backup of version 0.1.0, which says nothing of itself', async () => {
      await make(records(2));
      await call('backup', 'store', 'copy');
      rmSync(join(copy(), 'backup.json'));
      rmSync(join(copy(), 'store.json'));
      expect(await call('restore', 'copy', 'new/other')).to.deep.equal(
        succeeded('restored the backup of an unknown time: all of its 2 sessions are ended\n'),
      );
      const store = EmbeddedStore.open(other());
      expect(store.isRaised()).to.equal(false);
      await store.close();
    });

    it('says which records are damaged, and keeps version 0.1.0 off a store as the backup did', async () => {
      await make(records(3, { data: '{"filling":"yyyyyyyyyyyyyyyy"}' }), (store) => store.raise());
      change(here(), (file) => {
        file.write('z', file.indexOf('yyyyyyyyyyyyyyyy'));
      });
      await call('backup', 'store', 'copy');
      const { status, stdout } = await call('restore', 'copy', 'new/other', '--keep-sessions');
      expect(status).to.equal(0);
      expect(stdout).to.match(/\n1 records are damaged; sessman-scrub names them\n$/);
      const store = EmbeddedStore.open(other());
      expect(store.isRaised()).to.equal(true);
      await store.close();
    });

    it('refuses a backup that has changed, and leaves everything as it is', async () => {
      await make(records(2));
      await call('backup', 'store', 'copy');
      change(copy(), (file) => {
        file[file.length - 1]! ^= 1;
      });
      expect(await call('restore', 'copy', 'store')).to.deep.equal(
        failed(`sessman-restore: the backup in ${copy()} is not as it was written: its SHA-256 is another\n`),
      );
      expect(readdirSync(folder).sort()).to.deep.equal(['copy', 'store']);
    });
  });

  describe('sessman-compact', () => {
    it('says how large the file was and is, and removes what an earlier one has left', async () => {
      const made = records(300, { data: JSON.stringify({ filling: 'x'.repeat(2000) }) });
      await make(made, async (store) => {
        await store.removeEach(
          made.slice(5).map(({ handle }) => ({ handle, now })),
          'end',
        );
      });
      mkdirSync(`${here()}.compact`);
      writeFileSync(join(`${here()}.compact`, 'left'), '');
      const before = statSync(fileIn(here())).size;
      const { status, stdout, stderr } = await call('compact', 'store');
      const after = statSync(fileIn(here())).size;
      expect([status, stderr]).to.deep.equal([0, '']);
      expect(stdout).to.equal(`${fileIn(here())}: ${before} bytes before, ${after} bytes now\n`);
      expect(after).to.be.lessThan(before / 2);
      expect(readdirSync(folder)).to.deep.equal(['store']);
      const store = EmbeddedStore.open(here());
      expect(await store.list('ann', now)).to.have.length(5);
      await store.close();
    });

    it('leaves a store as it is where the disk has no space for a copy', async function () {
      const disk = join(folder, 'disk');
      const mounted = mountDisk(disk, '4m');
      if (!mounted) this.skip();
      try {
        const store = EmbeddedStore.open(join(disk, 'store'));
        for (const record of records(100, { data: JSON.stringify({ filling: 'x'.repeat(20_000) }) }))
          await store.insert(record);
        await store.close();
        const before = readFileSync(fileIn(join(disk, 'store')));
        expect(await call('compact', 'disk/store')).to.deep.equal(
          failed(`sessman-compact: the copy takes up to 2 MiB, and ${disk} has 1 MiB left\n`),
        );
        expect(readFileSync(fileIn(join(disk, 'store')))).to.deep.equal(before);
        expect(readdirSync(disk)).to.deep.equal(['store']);
      } finally {
        mounted?.unmount();
      }
    });

    it('and sessman-restore refuse a store that a process uses', async () => {
      const store = await EmbeddedStore.openClaimed(here());
      try {
        await store.insert(recordAt(now));
        await call('backup', 'store', 'copy');
        const before = readFileSync(fileIn(here()));
        const refused = (name: string) =>
          failed(
            `sessman-${name}: the store in ${here()} is in use by process ${process.pid}; stop the server first\n`,
          );
        expect(await call('compact', 'store')).to.deep.equal(refused('compact'));
        expect(await call('restore', 'copy', 'store')).to.deep.equal(refused('restore'));
        expect(readFileSync(fileIn(here()))).to.deep.equal(before);
      } finally {
        await store.close();
      }
    });
  });

  describe('copies', () => {
    /** Each leaves as many entries as there were, or one more or less. */
    const changes: Record<string, (entries: Database<Buffer, Buffer>, due: Buffer, other: Buffer) => void> = {
      missing: (entries, due) => {
        entries.removeSync(due);
      },
      surplus: (entries, _, other) => {
        entries.putSync(other, Buffer.alloc(0));
      },
      wrong: (entries, due, other) => {
        entries.removeSync(due);
        entries.putSync(other, Buffer.alloc(0));
      },
    };
    for (const [what, change] of Object.entries(changes)) {
      it(`have right indexes where those of the store have an entry that is ${what}`, async () => {
        const [record, other] = records(2) as [SessionRecord, SessionRecord];
        await make([record, other]);
        const key = handleBytes(record.handle);
        await behind(here(), ({ byExpiry, byUser }) => {
          change(byExpiry, expiryKey(record.expires, key), expiryKey(record.expires + 1, key));
          change(byUser, userKey(record.userid, key), userKey('eve', key));
        });
        expect((await call('backup', 'store', 'copy')).status).to.equal(0);
        const whole = '2 records read: 0 damaged, 0 without a checksum; 0 index entries repaired\n';
        expect((await call('scrub', 'copy')).stdout).to.equal(whole);
        expect((await call('scrub', 'store')).stdout).not.to.equal(whole);
      });
    }
  });

  describe('sessman-scrub', () => {
    it('counts what it has read, names what is damaged, and removes that only if it is told to', async () => {
      const filled = recordAt(now, { data: '{"filling":"yyyyyyyyyyyyyyyy"}' });
      const old = recordAt(now);
      await make([...records(2), filled]);
      change(here(), (file) => {
        file.write('z', file.indexOf('yyyyyyyyyyyyyyyy'));
      });
      // A record of version 0.1.0, which is in no index, and entries of the index that lead to no record.
      await behind(here(), ({ records, byExpiry }) => {
        records.putSync(handleBytes(old.handle), encodeRecord(old, old.expires, 0, false), 1);
        for (const { handle } of [recordAt(now), recordAt(now)])
          byExpiry.putSync(expiryKey(now + 1000, handleBytes(handle)), Buffer.alloc(0));
      });
      const named = `session ${filled.handle} is damaged\n`;
      const scrubbed = (status: number, stdout: string) => ({ status, stdout, stderr: '' });
      expect(await call('scrub', 'store')).to.deep.equal(
        scrubbed(1, `${named}4 records read: 1 damaged, 1 without a checksum; 4 index entries repaired\n`),
      );
      expect(await call('scrub', 'store', '--remove')).to.deep.equal(
        scrubbed(
          0,
          `${named}4 records read: 1 damaged, 1 of them removed, 1 without a checksum; 0 index entries repaired\n`,
        ),
      );
      expect(await call('scrub', '--remove', 'store')).to.deep.equal(
        scrubbed(
          0,
          '3 records read: 0 damaged, 0 of them removed, 1 without a checksum; 0 index entries repaired\n',
        ),
      );
    });

    it('tells of a page that is in use and is offered as a free one', async () => {
      const ended = records(200);
      await make([]);
      // So many pages that the count of them rests.
      await addBallast(here(), 500);
      await make([recordAt(now), ...ended], async (store) => {
        await store.removeEach(
          ended.map(({ handle }) => ({ handle, now })),
          'end',
        );
      });
      change(here(), (file) => offerUsedPage(file, 'records'));
      const { status, stdout } = await call('scrub', 'store');
      expect(status).to.equal(1);
      expect(stdout).to.match(
        /^the session store's list of free pages offers a page that is in use.*\n1 records read: 0 damaged, 0 without/,
      );
    });

    it('and the others leave no trace of themselves in a store', async () => {
      await make(records(3));
      const before = readdirSync(here());
      await call('backup', 'store', 'copy');
      await call('scrub', 'store');
      await call('compact', 'store');
      expect(readdirSync(here())).to.deep.equal(before);
    });
  });

  describe('that cannot do their work', () => {
    const usages = {
      backup: `usage: sessman-backup STORE COPY [--deadline SECONDS]
  STORE  the folder of an embedded store, such as data/sessman/store
  COPY   a folder that does not exist yet
  --deadline SECONDS  ends the copying after that time; 3600 by default, 2147483 at most
`,
      restore: `usage: sessman-restore BACKUP STORE [--keep-sessions]
  BACKUP           the folder that sessman-backup wrote
  STORE            the folder of the embedded store, such as data/sessman/store; what is there is kept beside it
  --keep-sessions  does not end the sessions of the backup; those that were ended since it was made are live again
`,
      compact: `usage: sessman-compact STORE
  STORE  the folder of an embedded store, such as data/sessman/store, that no server uses
`,
      scrub: `usage: sessman-scrub STORE [--remove]
  STORE     the folder of an embedded store, such as data/sessman/store
  --remove  removes damaged records; their users log in again
`,
    };
    const misuses: Record<keyof typeof programs, string[]> = {
      backup: [
        '',
        'store',
        '--help copy',
        'store copy more',
        'store copy --deadline 0',
        'store copy --deadline 2147484',
        'store copy --timeout 60',
        'store copy --deadline 60 more',
      ],
      restore: ['', 'copy', '--help other', 'copy other more', 'copy --keep-sessions'],
      compact: ['', '--help', 'store more'],
      scrub: ['', '--remove', '--help', 'store more'],
    };
    for (const name of ['backup', 'restore', 'compact', 'scrub'] as const) {
      it(`say how sessman-${name} is used, and change nothing, where the arguments are not right`, async () => {
        await make([]);
        mkdirSync(join(folder, '--help'));
        copyFileSync(fileIn(here()), fileIn(join(folder, '--help')));
        const before = readdirSync(folder);
        await Promise.all(
          misuses[name].map(async (given) => {
            const args = given === '' ? [] : given.split(' ');
            expect(await call(name, ...args), given).to.deep.equal({
              status: 2,
              stdout: '',
              stderr: usages[name],
            });
          }),
        );
        expect(readdirSync(folder)).to.deep.equal(before);
      });
    }

    it('say where they find no store or backup', async () => {
      mkdirSync(here());
      const missing = (name: string, what: string) =>
        failed(`sessman-${name}: there is no ${what} in ${here()}\n`);
      const all = [
        call('backup', 'store', 'copy'),
        call('compact', 'store'),
        call('scrub', 'store'),
        call('restore', 'store', 'other'),
      ];
      expect(await Promise.all(all)).to.deep.equal([
        missing('backup', 'session store'),
        missing('compact', 'session store'),
        missing('scrub', 'session store'),
        missing('restore', 'backup'),
      ]);
      expect(readdirSync(folder)).to.deep.equal(['store']);
    });

    it('say which of them helps where LMDB cannot use a file', async () => {
      await make(records(1));
      // LMDB takes an entry without this mark for a value, not for a database.
      change(here(), (file) => {
        const name = Buffer.from('records\0');
        for (let at = file.indexOf(name); at >= 0; at = file.indexOf(name, at + 1)) {
          file.writeUInt16LE(0, at - 4);
        }
      });
      const sentence = "LMDB cannot use the store's file \\(.*MDB_INCOMPATIBLE.*\\)\\. ";
      const compact =
        'Stop the server and run sessman-compact, which writes the file again from its records\\. If that fails, ';
      for (const [name, remedy, ...args] of [
        ['backup', `${compact}restore`, 'copy'],
        ['scrub', `${compact}restore`],
        ['restore', 'Restore', 'other'],
        ['compact', 'Restore'],
      ] as const) {
        const { status, stdout, stderr } = await call(name, 'store', ...args);
        expect([status, stdout]).to.deep.equal([1, '']);
        expect(stderr).to.match(
          new RegExp(`^sessman-${name}: ${sentence}${remedy} a sound backup with sessman-restore\\.\n$`),
        );
      }
      expect(readdirSync(folder)).to.deep.equal(['store']);
    });
  });
});
