import { crc32 } from 'node:zlib';
import { type Database, getLastVersion, type RootDatabase } from 'lmdb';

/** A value and its revision, which every write changes. */
export interface Fact<T> {
  /** Undefined where its bytes are not what was written. */
  readonly value: T | undefined;
  readonly revision: number;
}

/** What holds for a whole store, as JSON by name. Each has a checksum, which is its last member. */
export class Meta {
  readonly #facts: Database<Buffer, string>;

  constructor(root: RootDatabase) {
    this.#facts = root.openDB('meta', { encoding: 'binary', useVersions: true });
  }

  get databases() {
    return [this.#facts];
  }

  /** Removes the others, in one commit. */
  async keepOnly(isKept: (name: string) => boolean): Promise<void> {
    const names = [...this.#facts.getKeys()].filter((name) => !isKept(name));
    await Promise.all(names.map((name) => this.#facts.remove(name)));
  }

  read<T extends object>(name: string): Fact<T> | undefined {
    const text = this.#facts.get(name)?.toString();
    return text === undefined ? undefined : { revision: getLastVersion(), value: parse<T>(name, text) };
  }

  /** Resolves to false, with nothing written, where it does not have that revision any more; undefined: it must be new. */
  write(name: string, value: object, revision: number | undefined): Promise<boolean> {
    const text = JSON.stringify({ ...value, crc: sumOf(name, value) });
    return this.#facts.put(name, Buffer.from(text), (revision ?? 0) + 1, (revision ?? null) as number);
  }
}

function parse<T extends object>(name: string, text: string): T | undefined {
  try {
    const { crc, ...value } = JSON.parse(text) as { crc?: number };
    // Version 0.1.0 writes this one, without a checksum.
    const isOld = crc === undefined && name === 'sweeper';
    return isOld || crc === sumOf(name, value) ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

function sumOf(name: string, value: object): number {
  return crc32(JSON.stringify(value), crc32(name));
}
