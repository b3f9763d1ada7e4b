#!/usr/bin/env node
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { flushFolder } from '../../../../databases/lmdb/folder.js';
import { refuseLive, runCommand, UsageError } from './command.js';
import { storeFile } from './folder.js';
import { EmbeddedStore } from './index.js';
import { checkCopy } from './manifest.js';

/** Replaces the file of a store that nobody uses by a compact copy, in one step, once the copy was read in full. */
async function main(given: readonly string[]): Promise<string> {
  const [folder, ...more] = given;
  if (folder === undefined || more.length > 0 || folder.startsWith('-')) throw new UsageError();
  const file = join(folder, storeFile);
  if (!existsSync(file)) throw new Error(`there is no session store in ${resolve(folder)}`);
  await refuseLive(folder);
  const copy = `${resolve(folder)}.compact`;
  rmSync(copy, { recursive: true, force: true });
  try {
    const store = EmbeddedStore.open(folder, { readsAll: true });
    const records = store.count();
    await store.backup(copy);
    await store.close();
    const copied = EmbeddedStore.open(copy, { readsAll: true });
    const found = await checkCopy(copied).finally(() => copied.close());
    if (found.records !== records) throw new Error(`the copy has ${found.records} records, not ${records}`);
    await refuseLive(folder);
    const before = statSync(file).size;
    const after = statSync(join(copy, storeFile)).size;
    renameSync(join(copy, storeFile), file);
    flushFolder(folder);
    return `${resolve(file)}: ${before} bytes before, ${after} bytes now`;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

await runCommand(
  'sessman-compact',
  `usage: sessman-compact STORE
  STORE  the folder of an embedded store, such as data/sessman/store, that no server uses
`,
  main,
);
