import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';

/** Whether a write to this file failed for lack of space: on its disk, in its quota, or under the process's limit. */
export function isOutOfSpace(file: string): boolean {
  return sizeOf(file) + probe.length > fileSizeLimit() || isDiskFull(`${file}.probe-${process.pid}`);
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

/** Bytes. Without bounds where the system does not tell, as of some file systems of containers. */
export function spaceOfDisk(folder: string): { readonly size: number; readonly left: number } {
  try {
    const { blocks, bavail, bsize } = statfsSync(folder);
    if (blocks > 0) return { size: blocks * bsize, left: bavail * bsize };
  } catch {
    // Whatever is wrong with the folder, the write says it.
  }
  return { size: Number.POSITIVE_INFINITY, left: Number.POSITIVE_INFINITY };
}

/** The size that a file of this process may reach (`ulimit -f`), where the system tells. Bytes. */
export function fileSizeLimit(): number {
  try {
    const limit = /^Max file size\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Bytes; 0 where it cannot be told: whatever is wrong with the file, the write says it. */
export function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}
