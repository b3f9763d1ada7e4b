#!/usr/bin/env node
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { flushFile, flushFolder } from '../../../../databases/lmdb/folder.js';
import { refuseLive, runCommand, UsageError } from './command.js';
import { storeFile } from './folder.js';
import { EmbeddedStore } from './index.js';
import { checkCopy, readManifest, sumOfFile } from './manifest.js';

/**
 * Puts a backup in the place of a store that nobody uses. Unless sessions are to be kept, all of them are ended: else those
 * would come back that were ended since the backup.
 */
async function main(given: readonly string[]): Promise<string> {
  const keeps = given.includes('--keep-sessions');
  const [from, to, ...more] = given.filter((each) => each !== '--keep-sessions');
  if (from === undefined || to === undefined || more.length > 0 || from.startsWith('-'))
    throw new UsageError();
  if (!existsSync(join(from, storeFile))) throw new Error(`there is no backup in ${resolve(from)}`);
  await refuseLive(to);
  const manifest = readManifest(from);
  if (manifest && manifest.sha256 !== (await sumOfFile(from))) {
    throw new Error(`the backup in ${resolve(from)} is not as it was written: its SHA-256 is another`);
  }
  const next = `${resolve(to)}.restoring`;
  rmSync(next, { recursive: true, force: true });
  try {
    mkdirSync(next, { recursive: true, mode: 0o700 });
    for (const name of [storeFile, 'store.json']) {
      if (existsSync(join(from, name))) cpSync(join(from, name), join(next, name));
    }
    const said = await prepare(next, keeps, manifest?.made);
    for (const name of readdirSync(next)) flushFile(join(next, name));
    flushFolder(next);
    await refuseLive(to);
    let replaced = '';
    if (existsSync(to)) {
      const kept = `${resolve(to)}.replaced-${new Date().toISOString().replaceAll(':', '-')}`;
      renameSync(to, kept);
      replaced = `\nthe store that was there is now ${kept}`;
    }
    renameSync(next, to);
    flushFolder(dirname(resolve(to)));
    return `${said}${replaced}`;
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}

/** Makes the copy what the server finds, and returns what is said of it. */
async function prepare(folder: string, keeps: boolean, made = 'an unknown time'): Promise<string> {
  const store = EmbeddedStore.open(folder, { readsAll: true });
  try {
    const { records, damaged } = await checkCopy(store);
    const { count } = await store.countLive(store.clock.now());
    await store.beginGeneration(keeps);
    if (!keeps) return `restored the backup of ${made}: all of its ${records} sessions are ended`;
    return [
      `restored the backup of ${made}: ${count} live sessions return as they were then`,
      'sessions that were ended since are live again, ids that were renewed since are valid again, and later changes are gone',
      ...(damaged > 0 ? [`${damaged} records are damaged; sessman-scrub names them`] : []),
    ].join('\n');
  } finally {
    await store.close();
  }
}

await runCommand(
  'sessman-restore',
  `usage: sessman-restore BACKUP STORE [--keep-sessions]
  BACKUP           the folder that sessman-backup wrote
  STORE            the folder of the embedded store, such as data/sessman/store; what is there is kept beside it
  --keep-sessions  does not end the sessions of the backup; those that were ended since it was made are live again
`,
  main,
);
