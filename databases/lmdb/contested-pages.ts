import { type FileHandle, open } from 'node:fs/promises';
import type { RootDatabase } from 'lmdb';
import {
  bigData,
  metaIn,
  metaSize,
  newer,
  nodesOf,
  pageHeader,
  subTree,
  type Tree,
  treeAt,
} from './check-file.js';

/**
 * Counts the pages of an LMDB file that its list of free pages offers though they are in use, or offers twice. The next
 * writes would overwrite what is stored there. LMDB looks at no such thing, and its list has been seen to go wrong.
 *
 * It reads the branch pages of all trees, about one in a hundred pages, and the list, all as of one moment: other pages are
 * known from these. Pages of values that are larger than a page are not looked at. Until it ends, LMDB keeps every page of
 * that moment, and the file grows by what is written meanwhile.
 *
 * @param rest awaited after about every millisecond of work. Who calls paces the count there, and ends it by `false`.
 * @returns undefined where it was ended
 */
export async function contestedPages(
  root: RootDatabase,
  path: string,
  rest: () => Promise<boolean>,
): Promise<number | undefined> {
  const file = await open(path, 'r');
  try {
    root.resetReadTxn();
    const reading = root.useReadTransaction();
    try {
      // It begins with the first read.
      root.get(Buffer.from([0]), { transaction: reading });
      return await new Count(file).contested(rest);
    } finally {
      reading.done();
    }
  } finally {
    await file.close();
  }
}

/** A page to read, and how many levels of its tree there are from it on. */
interface Visit {
  readonly page: number;
  readonly depth: number;
  readonly of: 'list' | 'names' | 'database';
}

class Count {
  readonly #file: FileHandle;
  #pageSize = 0;
  /** A bit for each page of the file that is in use. */
  #used = new Uint8Array();
  #pages = 0;
  readonly #visits: Visit[] = [];
  readonly #lists: Buffer[] = [];

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async contested(rest: () => Promise<boolean>): Promise<number | undefined> {
    const first = await this.#read(0, metaSize);
    this.#pageSize = first.readUInt32LE(pageHeader + 24);
    const newest = newer(metaIn(first), metaIn(await this.#read(this.#pageSize, metaSize)));
    this.#pages = newest.lastPage + 1;
    this.#used = new Uint8Array(Math.ceil(this.#pages / 8));
    this.#take(0);
    this.#take(1);
    this.#takeTree(newest.main, 'names');
    this.#takeTree(newest.free, 'list');
    let left = pagesOfStep;
    while (this.#visits.length > 0) {
      const some = this.#visits.splice(-left);
      await Promise.all(some.map((each) => this.#visit(each)));
      left -= some.length;
      if (left > 0) continue;
      if (!(await rest())) return undefined;
      left = pagesOfStep;
    }
    let contested = 0;
    for (const list of this.#lists) {
      for (const [from, end] of this.#offers(list)) {
        for (let page = from; page < end; page++) if (!this.#take(page)) contested += 1;
        left -= (end - from) / offersOfPage;
        if (left > 0) continue;
        if (!(await rest())) return undefined;
        left = pagesOfStep;
      }
    }
    return contested;
  }

  /** Leaves are in use by what is above them. Only those with the names of databases, and with the list, are read. */
  #takeTree({ root, depth }: Tree, of: Visit['of']): void {
    if (root < 0 || !this.#take(root)) return;
    if (depth > 1 || of !== 'database') this.#visits.push({ page: root, depth, of });
  }

  async #visit({ page: number, depth, of }: Visit): Promise<void> {
    const page = await this.#read(number * this.#pageSize, this.#pageSize);
    for (const node of nodesOf(page)) {
      if (depth > 1) this.#takeTree({ root: page.readUIntLE(node, 6), depth: depth - 1, leaves: 0 }, of);
      else await this.#takeNode(page, node, of);
    }
  }

  async #takeNode(page: Buffer, node: number, of: Visit['of']): Promise<void> {
    const flags = page.readUInt16LE(node + 4);
    const data = node + 8 + page.readUInt16LE(node + 6);
    const size = page.readUInt32LE(node);
    if ((flags & subTree) !== 0) this.#takeTree(treeAt(page, data), 'database');
    if (of !== 'list') return;
    if ((flags & bigData) === 0) {
      this.#lists.push(page.subarray(data, data + size));
      return;
    }
    const number = Number(page.readBigUInt64LE(data));
    const count = Math.ceil((pageHeader + size) / this.#pageSize);
    for (let i = 0; i < count; i++) this.#take(number + i);
    this.#lists.push(await this.#read(number * this.#pageSize + pageHeader, size));
  }

  /**
   * A list of free pages has its length first. A page number stands for a page, a negative number for so many pages from the
   * next number on, and 0 for nothing. Gives the first page of each stretch, and the one after its last.
   */
  *#offers(list: Buffer): Generator<readonly [number, number]> {
    const length = Math.min(Number(list.readBigInt64LE(0)), list.length / 8 - 1);
    for (let i = 1; i <= length; i++) {
      const entry = Number(list.readBigInt64LE(i * 8));
      if (entry === 0) continue;
      const isRun = entry < 0 && i < length;
      const from = isRun ? Number(list.readBigInt64LE(++i * 8)) : entry;
      const end = Math.max(from + 1, Math.min(from - entry, this.#pages + 1));
      for (let at = from; at < end; at += offersOfPage) yield [at, Math.min(at + offersOfPage, end)];
    }
  }

  /** False where it was taken already, or is not in the file. */
  #take(page: number): boolean {
    if (page < 0 || page >= this.#pages) return false;
    const [at, bit] = [page >> 3, 1 << (page & 7)];
    const isFree = (this.#used[at]! & bit) === 0;
    this.#used[at]! |= bit;
    return isFree;
  }

  async #read(position: number, length: number): Promise<Buffer> {
    // Zeros where the file ends before: no nodes, and an empty list.
    const buffer = Buffer.alloc(length);
    await this.#file.read(buffer, 0, length, position);
    return buffer;
  }
}

/** Pages that are read in about a millisecond of the event loop. */
const pagesOfStep = 25;
/** Pages of the list that are looked up in the time in which one is read. */
const offersOfPage = 1000;
