import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** A folder or file of LMDB cannot be used. Nothing in it was changed. */
export class StoreFileError extends Error {
  override readonly name = 'StoreFileError';
}

/** What a file holds, for messages. */
export interface Held {
  /** `the session store` */
  readonly store: string;
  /** `sessions` */
  readonly content: string;
}

/**
 * Looks for damage in an LMDB file before LMDB maps it, since a damaged one can end the process. It follows both trees
 * from the newest meta page down: every page must be in the file, say that it is the page asked for, and be of the
 * right kind. Of a very large tree it reads only a sample, spread evenly: a start takes no longer with more sessions.
 *
 * Layout: the "lmdb-data" format 2 of libraries/liblmdb/mdb.c, on 64-bit little-endian machines.
 *
 * @throws StoreFileError
 */
export function checkLmdbFile(file: string, held: Held): void {
  const fd = openSync(file, 'r');
  try {
    // Another process may be writing: then a page that differs from what the meta page said is not damaged.
    for (let attempt = 1; ; attempt++) {
      const look = new Look(fd, file, held);
      const meta = look.newestMeta();
      try {
        look.checkTree(meta.free);
        look.checkTree(meta.main);
        return;
      } catch (error) {
        const isInUse = look.newestMeta().transaction !== meta.transaction;
        if (!isInUse) throw error;
        // A process that keeps committing to the file can read it.
        if (attempt === 3) return;
      }
    }
  } finally {
    closeSync(fd);
  }
}

export interface Tree {
  /** -1 of an empty one. */
  readonly root: number;
  readonly depth: number;
  readonly leaves: number;
}

interface Meta {
  readonly transaction: bigint;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
}

export const pageHeader = 24;
/** Bytes of a meta page that say something, its header included. */
export const metaSize = 176;
const magic = 0xbeefc0de;
const dataVersion = 2;
const branch = 0x01;
const leaf = 0x02;
const overflow = 0x04;
const metaPage = 0x08;
const kinds = 0x6f;
export const bigData = 0x01;
export const subTree = 0x02;
/** The root of an empty tree. */
const none = 2n ** 64n - 1n;
/** Leaves of a tree that is read in full. */
const mostLeaves = 5_000;
/** Paths from the root to a leaf that are read of a larger one. */
const sampledPaths = 1_000;

class Look {
  readonly #fd: number;
  readonly #file: string;
  #size = 0;
  #pageSize = 0;
  #transaction = 0n;

  constructor(
    fd: number,
    file: string,
    private readonly held: Held,
  ) {
    this.#fd = fd;
    this.#file = file;
  }

  newestMeta(): Meta {
    const first = this.#read(0, metaSize);
    this.#pageSize = first.readUInt32LE(pageHeader + 24);
    if (this.#pageSize < 512 || this.#pageSize > 65_536) this.#damaged('it names no page size');
    const newest = newer(this.#meta(first), this.#meta(this.#read(this.#pageSize, metaSize)));
    this.#transaction = newest.transaction;
    // Later than the meta page, since another process may extend the file. A crash or a full disk may have left part of a
    // page after the last one in use.
    this.#size = fstatSync(this.#fd).size;
    return newest;
  }

  checkTree({ root, depth, leaves }: Tree): void {
    if (root < 0) return;
    if (depth < 1 || depth > 32) this.#damaged('a tree of no depth');
    this.#visit(root, depth, leaves > mostLeaves ? sampledPaths : Number.POSITIVE_INFINITY);
  }

  /** Checks a page, and of the pages below it those on that many paths to leaves. */
  #visit(number: number, depth: number, paths: number): void {
    if (depth === 1) {
      const page = this.#page(number, leaf);
      for (const node of nodesOf(page)) this.#checkLeafNode(page, node);
      return;
    }
    const page = this.#page(number, branch);
    const nodes = nodesOf(page);
    const count = Math.min(nodes.length, paths);
    for (let i = 0; i < count; i++) {
      const node = nodes[Math.floor((i * nodes.length) / count)]!;
      this.#visit(page.readUIntLE(node, 6), depth - 1, Math.ceil(paths / count));
    }
  }

  #checkLeafNode(page: Buffer, node: number): void {
    const flags = page.readUInt16LE(node + 4);
    const data = node + 8 + page.readUInt16LE(node + 6);
    if ((flags & subTree) !== 0 && data + 48 <= page.length) this.checkTree(treeAt(page, data));
    if ((flags & bigData) !== 0 && data + 8 <= page.length) {
      const number = Number(page.readBigUInt64LE(data));
      const pages = this.#header(number, overflow, pageHeader).readUInt32LE(20);
      if ((number + pages) * this.#pageSize > this.#size) this.#damaged(`page ${number} is cut off`);
      if (pageHeader + page.readUInt32LE(node) > pages * this.#pageSize) {
        this.#damaged(`page ${number} is shorter than what it holds`);
      }
    }
  }

  #meta(buffer: Buffer): Meta {
    const at = pageHeader;
    if (
      (buffer.readUInt16LE(18) & metaPage) === 0 ||
      buffer.readUInt32LE(at) !== magic ||
      (buffer.readUInt32LE(at + 4) & 0xffff) !== dataVersion
    ) {
      this.#damaged('no meta page where one must be');
    }
    return metaIn(buffer);
  }

  #page(number: number, kind: number): Buffer {
    const page = this.#header(number, kind, this.#pageSize);
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const isSound =
      lower <= upper &&
      upper <= page.length - pageHeader &&
      nodesOf(page).every((node) => node >= pageHeader + upper && endOf(page, node, kind) <= page.length);
    if (!isSound) this.#damaged(`page ${number} has nodes outside itself`);
    return page;
  }

  /** The first bytes of a page, whose header must be right. */
  #header(number: number, kind: number, length: number): Buffer {
    const header = this.#read(number * this.#pageSize, length);
    if (header.readBigUInt64LE(0) !== BigInt(number) || (header.readUInt16LE(18) & kinds) !== kind) {
      this.#damaged(`page ${number} is not what it must be`);
    }
    if (header.readBigUInt64LE(8) > this.#transaction) this.#damaged(`page ${number} is of no transaction`);
    return header;
  }

  #read(position: number, length: number): Buffer {
    const buffer = Buffer.allocUnsafe(length);
    if (!Number.isSafeInteger(position) || readSync(this.#fd, buffer, 0, length, position) !== length) {
      this.#damaged('it is cut off');
    }
    return buffer;
  }

  #damaged(what: string): never {
    throw new StoreFileError(
      `${this.held.store} ${this.#file} is damaged (${what}) and was left as it is. Put a backup in its place, or move it away to start without ${this.held.content}.`,
    );
  }
}

/** What the first bytes of a meta page say. */
export function metaIn(buffer: Buffer): Meta {
  return {
    transaction: buffer.readBigUInt64LE(pageHeader + 128),
    lastPage: Number(buffer.readBigUInt64LE(pageHeader + 120)),
    free: treeAt(buffer, pageHeader + 24),
    main: treeAt(buffer, pageHeader + 72),
  };
}

/** LMDB writes its two meta pages in turn. */
export function newer(one: Meta, other: Meta): Meta {
  return one.transaction > other.transaction ? one : other;
}

export function treeAt(buffer: Buffer, at: number): Tree {
  const root = buffer.readBigUInt64LE(at + 40);
  return {
    root: root === none ? -1 : Number(root),
    depth: buffer.readUInt16LE(at + 6),
    leaves: Number(buffer.readBigUInt64LE(at + 16)),
  };
}

/** Where a node ends, as its header says; behind the page where even that is not within it. */
function endOf(page: Buffer, node: number, kind: number): number {
  if (node + 8 > page.length) return node + 8;
  const key = page.readUInt16LE(node + 6);
  if (kind === branch) return node + 8 + key;
  const isElsewhere = (page.readUInt16LE(node + 4) & bigData) !== 0;
  return node + 8 + key + (isElsewhere ? 8 : page.readUInt32LE(node));
}

/** Where the page's nodes begin. The page itself counts from the end of its header. */
export function nodesOf(page: Buffer): number[] {
  const count = page.readUInt16LE(20) >> 1;
  return Array.from({ length: count }, (_, n) => pageHeader + page.readUInt16LE(pageHeader + 2 * n));
}
