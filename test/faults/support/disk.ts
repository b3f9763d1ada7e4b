import { dirname } from 'node:path';
import type { Step } from './recording.js';

/** How much of what was not flushed is on disk after a crash. */
export type Luck = 'none' | 'all' | 'some';

/** The first two pages of an LMDB file, which disks may write sector by sector. */
const metaLength = 8192;
const sector = 512;
const page = 4096;

interface Write {
  readonly start: number;
  readonly data: Buffer;
  hasEnded: boolean;
}

/**
 * What a disk holds while steps are recorded. A piece of a file, 4 KiB or in the meta pages 512 bytes, is on disk as it was
 * after any of the writes to it since its last flush. A new name is on disk once its folder was flushed.
 */
export class Disk {
  readonly #files = new Map<string, DiskFile>();
  /** Whether each created name is flushed. */
  readonly #names = new Map<string, boolean>();
  readonly #begun = new Map<bigint, (result: number) => void>();

  apply(step: Step): void {
    switch (step.kind) {
      case 'write':
        this.#write(step);
        break;
      case 'flush':
        this.#flush(step);
        break;
      case 'create':
        this.#create(step);
        break;
      case 'truncate':
        throw new Error(`${step.path} was truncated, which images do not show`);
      case 'end':
        this.#begun.get(step.operation)?.(step.result);
        this.#begun.delete(step.operation);
        break;
      case 'response':
    }
  }

  /** The file after a crash at this moment; undefined where it is not there. */
  image(path: string, luck: Luck): Buffer | undefined {
    return this.#isThere(path, luck) ? this.#files.get(path)?.image(luck) : undefined;
  }

  /** Whether a file that is complete before it gets its name is there after a crash. */
  has(path: string, luck: Luck): boolean {
    return this.#names.has(path) && this.#isThere(path, luck);
  }

  /** Whether the luck makes a difference. */
  isPending(path: string): boolean {
    return (this.#files.get(path)?.isPending ?? false) || [...this.#names.values()].includes(false);
  }

  #write(step: Step & { kind: 'write' }): void {
    const file = this.#fileOf(step.path);
    const write = file.begin(step.offset, step.data);
    this.#begun.set(step.operation, (result) => {
      if (result !== step.data.length) throw new Error(`a write to ${step.path} failed`);
      write.hasEnded = true;
      if (step.isSynchronous) file.settle([write]);
    });
  }

  #flush({ path, operation }: Step & { kind: 'flush' }): void {
    const writes = this.#files.get(path)?.ended() ?? [];
    const names = [...this.#names.keys()].filter((name) => dirname(name) === path);
    this.#begun.set(operation, (result) => {
      if (result !== 0) throw new Error(`a flush of ${path} failed`);
      this.#files.get(path)?.settle(writes);
      for (const name of names) this.#names.set(name, true);
    });
  }

  #create({ path, from }: Step & { kind: 'create' }): void {
    const file = this.#files.get(from);
    if (file) this.#files.set(path, file);
    if (!this.#names.has(path)) this.#names.set(path, false);
  }

  #fileOf(path: string): DiskFile {
    let file = this.#files.get(path);
    if (file === undefined) {
      file = new DiskFile();
      this.#files.set(path, file);
      if (!this.#names.has(path)) this.#names.set(path, false);
    }
    return file;
  }

  #isThere(path: string, luck: Luck): boolean {
    for (let each = path; this.#names.has(each); each = dirname(each)) {
      if (!this.#names.get(each) && !isLucky(luck)) return false;
    }
    return true;
  }
}

class DiskFile {
  #flushed = Buffer.alloc(0);
  #size = 0;
  #writes: Write[] = [];
  /** By where they begin: the writes to the pieces that are not flushed, the oldest first. */
  readonly #pieces = new Map<number, Write[]>();

  get isPending(): boolean {
    return this.#writes.length > 0;
  }

  begin(start: number, data: Buffer): Write {
    const write = { start, data, hasEnded: false };
    this.#writes.push(write);
    for (const piece of piecesOf(write)) {
      const writes = this.#pieces.get(piece);
      if (writes) writes.push(write);
      else this.#pieces.set(piece, [write]);
    }
    return write;
  }

  ended(): Write[] {
    return this.#writes.filter(({ hasEnded }) => hasEnded);
  }

  /** These are on disk now, and so is what was written before to the same pieces. */
  settle(writes: readonly Write[]): void {
    for (const write of writes) {
      this.#grow(write.start + write.data.length);
      for (const piece of piecesOf(write)) {
        const pending = this.#pieces.get(piece) ?? [];
        for (const each of pending.splice(0, pending.indexOf(write) + 1)) copy(each, piece, this.#flushed);
        if (pending.length === 0) this.#pieces.delete(piece);
      }
    }
    const settled = new Set(writes);
    this.#writes = this.#writes.filter((write) => !settled.has(write));
  }

  image(luck: Luck): Buffer {
    const end = this.#writes.reduce(
      (most, { start, data }) => Math.max(most, start + data.length),
      this.#size,
    );
    const image = Buffer.alloc(end);
    this.#flushed.copy(image, 0, 0, this.#size);
    let size = isLucky(luck) ? end : this.#size;
    for (const [piece, writes] of this.#pieces) {
      const kept = luck === 'all' ? writes.length : luck === 'none' ? 0 : random(writes.length + 1);
      for (const write of writes.slice(0, kept)) {
        size = Math.max(size, copy(write, piece, image));
      }
    }
    return image.subarray(0, size);
  }

  #grow(size: number): void {
    this.#size = Math.max(this.#size, size);
    if (this.#size <= this.#flushed.length) return;
    const larger = Buffer.alloc(2 * this.#size);
    this.#flushed.copy(larger);
    this.#flushed = larger;
  }
}

/** Where the pieces begin that a write touches. */
function piecesOf({ start, data }: Write): number[] {
  const pieces: number[] = [];
  for (
    let piece = start - (start % pieceLength(start));
    piece < start + data.length;
    piece += pieceLength(piece)
  ) {
    pieces.push(piece);
  }
  return pieces;
}

function pieceLength(offset: number): number {
  return offset < metaLength ? sector : page;
}

/** Puts what a write says of a piece there; returns where it ends. */
function copy({ start, data }: Write, piece: number, to: Buffer): number {
  const from = Math.max(start, piece);
  const end = Math.min(start + data.length, piece + pieceLength(piece));
  data.copy(to, from, from - start, end - start);
  return end;
}

function isLucky(luck: Luck): boolean {
  return luck === 'all' || (luck === 'some' && random(2) === 1);
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}
