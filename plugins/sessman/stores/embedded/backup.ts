#!/usr/bin/env node
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, UsageError } from './command.js';
import { isRaised, storeFile } from './folder.js';
import { EmbeddedStore } from './index.js';
import { checkCopy, countKeys, sumOfFile, writeManifest } from './manifest.js';

/**
 * Copies an embedded store while servers use it. The copy is a compact, consistent, complete store, which is read in full
 * before the command says that it is one. A child process does the work: the parent can end it whatever state it is in.
 */
async function main(given: readonly string[]): Promise<string> {
  const [from, to, ...more] = given;
  const deadline = more.length === 0 ? defaultDeadline : Number(more[1]);
  const isUsable =
    more.length === 0 ||
    (more.length === 2 && more[0] === '--deadline' && deadline > 0 && deadline <= longestDeadline);
  if (from === undefined || to === undefined || from.startsWith('-') || !isUsable) throw new UsageError();
  if (process.send) return copy(from, to);
  if (!existsSync(join(from, storeFile))) throw new Error(`there is no session store in ${resolve(from)}`);
  if (existsSync(to)) throw new Error(`${resolve(to)} is there already; name a folder that is not`);
  const child = fork(fileURLToPath(import.meta.url), [from, to], {
    timeout: Math.ceil(deadline * 1000),
    killSignal: 'SIGKILL',
  });
  let told: { readonly said?: string; readonly failure?: string } = {};
  child.on('message', (message: typeof told) => {
    told = message;
  });
  // Its last message may come after its exit.
  const [status, signal] = await once(child, 'close');
  if (told.said !== undefined) return told.said;
  rmSync(to, { recursive: true, force: true });
  const end = child.killed
    ? `the copy was not complete within ${deadline} s, and was removed. While a copy is made, the store's file grows; --deadline SECONDS gives it more time`
    : `the copying process ended with ${signal ?? status}`;
  throw new Error(told.failure ?? end);
}

async function copy(from: string, to: string): Promise<string> {
  const store = await EmbeddedStore.openClaimed(from, { readsAll: true });
  const made = new Date().toISOString();
  await store.backup(to);
  await store.close();
  const copied = EmbeddedStore.open(to, { readsAll: true });
  const { records, damaged } = await checkCopy(copied);
  const keys = await countKeys(copied);
  await copied.close();
  rmSync(join(to, `${storeFile}-lock`));
  writeManifest(to, { made, format: isRaised(to) ? 2 : 1, records, keys, sha256: await sumOfFile(to) });
  const warning =
    damaged > 0 ? `; ${damaged} of them are damaged in the store, too: sessman-scrub names them` : '';
  return `${records} sessions copied to ${resolve(to)}${warning}`;
}

/** Seconds. */
const defaultDeadline = 3600;
/** A timer cannot run for longer. */
const longestDeadline = 2_147_483;

await runCommand(
  'sessman-backup',
  `usage: sessman-backup STORE COPY [--deadline SECONDS]
  STORE  the folder of an embedded store, such as data/sessman/store
  COPY   a folder that does not exist yet
  --deadline SECONDS  ends the copying after that time; ${defaultDeadline} by default, ${longestDeadline} at most
`,
  main,
);
