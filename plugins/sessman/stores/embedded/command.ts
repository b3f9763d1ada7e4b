import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { holdersOf } from '../../../../databases/lmdb/claim.js';
import { giveWayToServers } from '../../../../databases/lmdb/priority.js';

/** The command line is not valid. */
export class UsageError extends Error {}

/**
 * Runs a command of the embedded store and sets the exit status: 0 with what it says; 1 with its error; 2 with how it is used
 * after a UsageError. A child process of the command reports to its parent instead.
 */
export async function runCommand(
  name: string,
  usage: string,
  main: (args: readonly string[]) => Promise<string>,
): Promise<void> {
  giveWayToServers();
  try {
    const said = await main(process.argv.slice(2));
    if (process.send) process.send({ said });
    else process.stdout.write(`${said}\n`);
  } catch (error) {
    const isMisused = error instanceof UsageError;
    process.exitCode = isMisused ? 2 : 1;
    const failure = (error as Error).message;
    if (process.send) process.send({ failure });
    else process.stderr.write(isMisused ? usage : `${name}: ${explained(failure, name)}\n`);
  }
  if (process.connected) process.disconnect();
}

/** LMDB's own words do not say what to do. */
function explained(failure: string, command: string): string {
  if (!failure.includes('MDB_')) return failure;
  const isReading = command === 'sessman-backup' || command === 'sessman-scrub';
  const compact =
    'Stop the server and run sessman-compact, which writes the file again from its records. If that fails, ';
  const remedy = isReading ? `${compact}restore` : 'Restore';
  return `LMDB cannot use the store's file (${failure}). ${remedy} a sound backup with sessman-restore.`;
}

/** Throws while a process uses the store in that folder. */
export async function refuseLive(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const [pid] = await holdersOf(folder);
  if (pid !== undefined) {
    throw new Error(`the store in ${resolve(folder)} is in use by process ${pid}; stop the server first`);
  }
}
