import { readFileSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * How much an LMDB file may still take: what is left on its disk and under the process's limit on the size of files, and
 * pages in the file that can be used again.
 *
 * A write that the system refuses can crash the process: npm's lmdb 3.5 then describes the error in a buffer of 100 bytes,
 * for which the description may be too long (`mdb_page_flush` of libraries/liblmdb/mdb.c). So none is begun without room.
 */
export class Room {
  #left = Number.POSITIVE_INFINITY;
  #reserve = 0;
  #nextLook = 0;

  /**
   * @param file its path
   * @param freeInFile bytes of the file's pages that hold nothing
   */
  constructor(
    private readonly file: string,
    private readonly freeInFile: () => number,
  ) {}

  /** Whether there is enough left for what adds to the file, or for what makes room in it, which itself takes some at first. */
  isEnoughFor(purpose: 'adding' | 'making room'): boolean {
    const now = performance.now();
    if (now >= this.#nextLook) {
      this.#look();
      this.#nextLook = now + lookInterval;
    }
    return this.#left >= (purpose === 'adding' ? this.#reserve : this.#reserve / 4);
  }

  #look(): void {
    const disk = spaceOfDisk(dirname(this.file));
    const limit = fileSizeLimit();
    const underLimit = limit === Number.POSITIVE_INFINITY ? limit : limit - sizeOf(this.file);
    this.#reserve = Math.min(largestReserve, disk.size / 8, limit / 8);
    this.#left = Math.min(disk.left, underLimit);
    if (this.#left < this.#reserve) this.#left += this.freeInFile();
  }
}

/**
 * Bytes. What all processes can write between two looks, and the file's growth by the transactions that they have begun, should
 * be less; on a small disk, an eighth of it has to do.
 */
const largestReserve = 16 * 1024 * 1024;
/** Milliseconds. */
const lookInterval = 10;

/** Bytes. Without bounds where the system does not tell, as of some file systems of containers. */
export function spaceOfDisk(folder: string): { readonly size: number; readonly left: number } {
  try {
    const { blocks, bfree, bavail, bsize } = statfsSync(folder);
    if (blocks > 0) {
      const isRoot = process.geteuid?.() === 0;
      return { size: blocks * bsize, left: (isRoot ? bfree : bavail) * bsize };
    }
  } catch {
    // Whatever is wrong with the folder, the write says it.
  }
  return { size: Number.POSITIVE_INFINITY, left: Number.POSITIVE_INFINITY };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
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
