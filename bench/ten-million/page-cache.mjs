import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { storeFile } from '../../dist/plugins/sessman/stores/embedded/folder.js';

/** Drops a store's file, which no process has mapped: GNU dd advises the system so. */
export function dropFromCache(store) {
  execFileSync('dd', [`if=${join(store, storeFile)}`, 'iflag=nocache', 'count=0', 'status=none']);
}

export async function readIntoCache(store) {
  for await (const _ of createReadStream(join(store, storeFile), { highWaterMark: 2 ** 22 }));
}
