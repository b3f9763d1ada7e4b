import { type FileHandle, open } from 'node:fs/promises';
import type { RootDatabase } from 'lmdb';
import { bigData, metaIn, metaSize, nodesOf, pageHeader, subTree, type Tree, treeAt } from './check-file.js';

/**
 * Counts the pages of an LMDB file that its list of free pages offers though they are in use, or offers twice. The next
 * writes would overwrite what is stored there. LMDB looks at no such thing, and its list has been seen to go wrong.
 *
 * It reads the branch pages of all trees, about one in a hundred pages, and the list, all as of one moment: other pages are
 * known from these. Pages of values that are larger than a page are not looked at.
 *
 * @param root keeps the pages of that moment from being used again meanwhile
 */
export async function contestedPages(root: RootDatabase, path: string): Promise<number> {
  root.resetReadTxn();
  const reading = root.useReadTransaction();
  const file = await open(path, 'r');
  try {
    // It begins with the first read.
    root.get(Buffer.from([0]), { transaction: reading });
    return await new Count(file).contested();
  } finally {
    await file.close();
    reading.done();
  }
}

class Count {
  readonly #file: FileHandle;
  #pageSize = 0;
  /** A bit for each page of the file that is in use. */
  #used = new Uint8Array();
  #pages = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async contested(): Promise<number> {
    const first = await this.#read(0, metaSize);
    this.#pageSize = first.readUInt32LE(pageHeader + 24);
    const [one, other] = [metaIn(first), metaIn(await this.#read(this.#pageSize, metaSize))];
    const newest = one.transaction > other.transaction ? one : other;
    this.#pages = newest.lastPage + 1;
    this.#used = new Uint8Array(Math.ceil(this.#pages / 8));
    this.#take(0);
    this.#take(1);
    await this.#takeTree(newest.main, true);
    const lists: Buffer[] = [];
    await this.#takeTree(newest.free, true, lists);
    return lists.reduce((sum, list) => sum + this.#takeList(list), 0);
  }

  /** @param lists if given, what the values of its leaves are added to */
  async #takeTree({ root, depth }: Tree, readsLeaves: boolean, lists?: Buffer[]): Promise<void> {
    if (root < 0) return;
    if (!this.#take(root)) return;
    if (depth === 1 && !readsLeaves) return;
    const page = await this.#page(root);
    for (const node of nodesOf(page)) {
      if (depth > 1) {
        const child = { root: page.readUIntLE(node, 6), depth: depth - 1, leaves: 0 };
        await this.#takeTree(child, readsLeaves, lists);
      } else await this.#takeNode(page, node, lists);
    }
  }

  async #takeNode(page: Buffer, node: number, lists: Buffer[] | undefined): Promise<void> {
    const flags = page.readUInt16LE(node + 4);
    const data = node + 8 + page.readUInt16LE(node + 6);
    const size = page.readUInt32LE(node);
    if ((flags & subTree) !== 0) await this.#takeTree(treeAt(page, data), false);
    if (lists === undefined) return;
    if ((flags & bigData) === 0) {
      lists.push(page.subarray(data, data + size));
      return;
    }
    const number = Number(page.readBigUInt64LE(data));
    const count = Math.ceil((pageHeader + size) / this.#pageSize);
    for (let i = 0; i < count; i++) this.#take(number + i);
    lists.push(await this.#read(number * this.#pageSize + pageHeader, size));
  }

  /**
   * A list of free pages has its length first. A page number stands for a page, a negative number for so many pages from the
   * next number on, and 0 for nothing. Returns how many of them were taken.
   */
  #takeList(list: Buffer): number {
    const length = Math.min(Number(list.readBigInt64LE(0)), list.length / 8 - 1);
    let contested = 0;
    for (let i = 1; i <= length; i++) {
      const entry = Number(list.readBigInt64LE(i * 8));
      if (entry === 0) continue;
      const isRun = entry < 0 && i < length;
      const from = isRun ? Number(list.readBigInt64LE(++i * 8)) : entry;
      const end = Math.min(isRun ? from - entry : from + 1, this.#pages + 1);
      if (from < 2 || from >= this.#pages) contested += 1;
      else for (let page = from; page < end; page++) if (!this.#take(page)) contested += 1;
    }
    return contested;
  }

  /** False where it was taken already, or is not in the file. */
  #take(page: number): boolean {
    if (page >= this.#pages) return false;
    const [at, bit] = [page >> 3, 1 << (page & 7)];
    const isFree = (this.#used[at]! & bit) === 0;
    this.#used[at]! |= bit;
    return isFree;
  }

  #page(number: number): Promise<Buffer> {
    return this.#read(number * this.#pageSize, this.#pageSize);
  }

  async #read(position: number, length: number): Promise<Buffer> {
    // Zeros where the file ends before: no nodes, and an empty list.
    const buffer = Buffer.alloc(length);
    await this.#file.read(buffer, 0, length, position);
    return buffer;
  }
}
