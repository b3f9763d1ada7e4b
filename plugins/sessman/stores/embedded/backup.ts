#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { storeFile } from './folder.js';
import { EmbeddedStore } from './index.js';

/** Copies an embedded store while servers use it. The copy is a compact, consistent, complete store. */
async function main(given: readonly string[]): Promise<number> {
  const [from, to, ...more] = given;
  if (from === undefined || to === undefined || more.length > 0 || from.startsWith('-')) {
    process.stderr.write(
      'usage: sessman-backup STORE COPY\n  STORE  the folder of an embedded store, such as data/sessman/store\n  COPY   a folder that does not exist yet\n',
    );
    return 2;
  }
  if (!existsSync(join(from, storeFile))) return fail(`there is no session store in ${resolve(from)}`);
  if (existsSync(to)) return fail(`${resolve(to)} is there already; name a folder that is not`);
  let store: EmbeddedStore | undefined;
  try {
    store = EmbeddedStore.open(from);
    await store.backup(to);
    process.stdout.write(`${store.count()} sessions copied to ${resolve(to)}\n`);
    return 0;
  } catch (error) {
    return fail((error as Error).message);
  } finally {
    await store?.close();
  }
}

function fail(message: string): number {
  process.stderr.write(`sessman-backup: ${message}\n`);
  return 1;
}

process.exitCode = await main(process.argv.slice(2));
