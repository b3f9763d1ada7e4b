import { dirname } from 'node:path';
import { fileSizeLimit, sizeOf, spaceOfDisk } from './disk-space.js';
import type { Pages } from './pages.js';

/**
 * What a write is for. `adding` adds to the file. `removing` may add a little at first, such as a note of what was removed.
 * `upkeep` is what the server needs to free pages, and to keep its leases and the time.
 */
export type Purpose = 'adding' | 'removing' | 'upkeep';

/**
 * The room for an LMDB file: what is left on its disk, and under the process's limit on the size of files.
 *
 * A write that the system refuses can crash the process: npm's lmdb 3.5 then describes the error in a buffer of 100 bytes,
 * for which the description may be too long (`mdb_page_flush` of libraries/liblmdb/mdb.c). So none is begun without room.
 */
export class Room {
  #left = Number.POSITIVE_INFINITY;
  #pages: Pages = noneFree;
  #reserve = 0;
  #nextLook = 0;

  /**
   * @param file its path
   * @param pages those of the file; free are those that can be used again
   */
  constructor(
    private readonly file: string,
    private readonly pages: () => Pages,
  ) {}

  /** @param size bytes that it writes and that this process has begun to write, about */
  isEnoughFor(purpose: Purpose, size: number): boolean {
    this.#look();
    const needed = shares[purpose] * this.#reserve + size;
    const { bytes, free } = this.#pages;
    const isOnDisk = this.#left >= size + (needed - size) / 4 && this.#left + free >= needed;
    // LMDB takes new pages where no free ones lie side by side, as among few free ones of many.
    return isOnDisk || free >= Math.max(2 * needed, (shares[purpose] * bytes) / 4);
  }

  /** Whether the disk has more than enough for anything, as far as the system tells. */
  get isAmple(): boolean {
    return this.#left >= this.#reserve;
  }

  /** For the log. */
  describe(): string {
    return `${mib(Math.max(0, this.#left))} MiB are left for ${this.file}, and ${mib(this.#pages.free)} MiB in it can be used again`;
  }

  /** Whether little should be under way at a time: the system does not count it before it is on disk. */
  get isShort(): boolean {
    return this.#left < 4 * this.#reserve;
  }

  #look(): void {
    const now = performance.now();
    if (now < this.#nextLook) return;
    const disk = spaceOfDisk(dirname(this.file));
    const limit = fileSizeLimit();
    const underLimit = limit === Number.POSITIVE_INFINITY ? limit : limit - sizeOf(this.file);
    this.#reserve = Math.min(largestReserve, disk.size / 8, limit / 8);
    this.#left = Math.min(disk.left, underLimit);
    this.#pages = this.#left < 2 * this.#reserve ? this.pages() : noneFree;
    this.#nextLook = this.isShort ? now : now + lookInterval;
  }
}

/** Bytes. More than several processes have under way at a time. On a small disk, an eighth of it has to do. */
const largestReserve = 16 * 1024 * 1024;
const noneFree: Pages = { bytes: 0, free: 0 };
/** Milliseconds. */
const lookInterval = 10;
/** How much of the reserve there must be. */
const shares: Readonly<Record<Purpose, number>> = { adding: 1, removing: 1 / 2, upkeep: 1 / 4 };

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
