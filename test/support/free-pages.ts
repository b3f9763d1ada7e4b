/** Damage to an LMDB file that its pages do not show. The structures are those of libraries/liblmdb/mdb.c. */

/** Makes the list empty, so that LMDB knows of pages that are neither used nor free. */
export function emptyFreeList(file: Buffer): void {
  const tree = freeList(file);
  file.writeUInt16LE(0, tree + 6);
  file.fill(0, tree + 8, tree + 40);
  file.writeBigUInt64LE(2n ** 64n - 1n, tree + 40);
}

/** Removes one page from the list. */
export function loseFreePage(file: Buffer): void {
  // LMDB passes over a 0.
  changeEntry(file, (number) => (number > 0n ? 0n : number + 1n));
}

/** Replaces one page of the list by the first leaf of a database, which is in use. */
export function offerUsedPage(file: Buffer, database: string): void {
  const pageSize = file.readUInt32LE(header + 24);
  const tree = described(file, database);
  let page = file.readBigUInt64LE(tree + 40);
  for (let depth = file.readUInt16LE(tree + 6); depth > 1; depth--) {
    const start = Number(page) * pageSize;
    page = BigInt(file.readUIntLE(start + header + file.readUInt16LE(start + header), 6));
  }
  changeEntry(file, () => page);
}

/** Lets a database say that it has one entry more than it has. */
export function countOneMore(file: Buffer, database: string): void {
  const at = described(file, database) + 32;
  file.writeBigUInt64LE(file.readBigUInt64LE(at) + 1n, at);
}

/** Where a database is described, which must be in the first page with names. */
function described(file: Buffer, database: string): number {
  const main = Number(file.readBigUInt64LE(freeList(file) + 48 + 40)) * file.readUInt32LE(header + 24);
  const name = file.indexOf(`${database}\0`, main);
  // The length of the name stands before it, and what it names behind it.
  return name + file.readUInt16LE(name - 2);
}

function changeEntry(file: Buffer, change: (number: bigint) => bigint): void {
  const pageSize = file.readUInt32LE(header + 24);
  const tree = freeList(file);
  let page = Number(file.readBigUInt64LE(tree + 40)) * pageSize;
  for (let depth = file.readUInt16LE(tree + 6); depth > 1; depth--) {
    page = file.readUIntLE(page + header + file.readUInt16LE(page + header), 6) * pageSize;
  }
  const nodes = file.readUInt16LE(page + 20) >> 1;
  for (let n = 0; n < nodes; n++) {
    const node = page + header + file.readUInt16LE(page + header + 2 * n);
    // Its value is on pages elsewhere.
    if ((file.readUInt16LE(node + 4) & 1) !== 0) continue;
    const list = node + 8 + file.readUInt16LE(node + 6);
    // A count, and as many numbers of pages. One below 0 begins a pair: the length of a run, and its first page.
    const end = list + 8 * Number(file.readBigInt64LE(list));
    for (let at = list + 8; at <= end; at += 8) {
      const number = file.readBigInt64LE(at);
      if (number === 0n) continue;
      if (number !== -1n) {
        file.writeBigInt64LE(change(number), at);
        return;
      }
      at += 8;
    }
  }
  throw new Error('no free page is found');
}

/** Bytes of a page's header. */
const header = 24;

/** Where the newer meta page describes the tree of free pages. */
function freeList(file: Buffer): number {
  const pageSize = file.readUInt32LE(header + 24);
  const [first, second] = [0, pageSize].map((page) => file.readBigUInt64LE(page + header + 128));
  return (first! > second! ? 0 : pageSize) + header + 24;
}
