#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { contestedSentence } from '../scrubber.js';
import { runCommand, UsageError } from './command.js';
import { storeFile } from './folder.js';
import { EmbeddedStore } from './index.js';
import { scrubAll } from './manifest.js';

/** Reads all of an embedded store, while servers use it or not, and says what is damaged. */
async function main(given: readonly string[]): Promise<string> {
  const removes = given.includes('--remove');
  const [folder, ...more] = given.filter((each) => each !== '--remove');
  if (folder === undefined || more.length > 0 || folder.startsWith('-')) throw new UsageError();
  if (!existsSync(join(folder, storeFile)))
    throw new Error(`there is no session store in ${resolve(folder)}`);
  const store = await EmbeddedStore.openClaimed(folder, { readsAll: true });
  try {
    const handles: string[] = [];
    const { records, unchecked, damaged, repaired } = await scrubAll(store, (handle) => {
      process.stdout.write(`session ${handle} is damaged\n`);
      if (removes) handles.push(handle);
    });
    // Nobody ends it.
    const contested = (await store.file.contestedPages(async () => true))!;
    let removed = 0;
    for (const handle of handles) if (await store.file.removeDamaged(handle)) removed += 1;
    if (damaged > removed || contested > 0) process.exitCode = 1;
    if (contested > 0) process.stdout.write(`${contestedSentence(contested)}\n`);
    const isRemoved = removes ? `, ${removed} of them removed` : '';
    return `${records} records read: ${damaged} damaged${isRemoved}, ${unchecked} without a checksum; ${repaired} index entries repaired`;
  } finally {
    await store.close();
  }
}

await runCommand(
  'sessman-scrub',
  `usage: sessman-scrub STORE [--remove]
  STORE     the folder of an embedded store, such as data/sessman/store
  --remove  removes damaged records; their users log in again
`,
  main,
);
