import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { fileSizeLimit } from './room.js';

/** Whether a write to this file failed for lack of space: on its disk, in its quota, or under the process's limit. */
export function isOutOfSpace(file: string): boolean {
  return statSync(file).size + probe.length > fileSizeLimit() || isDiskFull(`${file}.probe-${process.pid}`);
}

const probe = Buffer.alloc(1024 * 1024, 1);

function isDiskFull(path: string): boolean {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'w', 0o600);
    for (let at = 0; at < probe.length; ) at += writeSync(fd, probe, at);
    fsyncSync(fd);
    return false;
  } catch (error) {
    return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
  } finally {
    if (fd !== undefined) {
      closeSync(fd);
      rmSync(path, { force: true });
    }
  }
}
