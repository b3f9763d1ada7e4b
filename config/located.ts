import type { Position } from './problem.js';

/** A stretch of a file. */
export interface Place {
  readonly position: Position;
  /** In characters. */
  readonly length: number;
}

/** A value that remembers where it was written, down through lists and JSON. */
export interface Located extends Place {
  readonly value: unknown;
  readonly keyPosition?: Position;
  readonly keyLength?: number;
  /** It must not be shown: its key has the name of a secret, a schema says so, or a secret was interpolated into it. */
  readonly secret: boolean;
  /** The values in a section or an object, by key (matched without case where INI text gave the keys). */
  readonly fields?: ReadonlyMap<string, Located>;
  /** The values in a list. */
  readonly items?: readonly Located[];
  /** How it was written, and so how a message says what to write. `absent`: not at all. */
  readonly notation: 'ini' | 'json' | 'absent';
  /** As it stands in the INI file, where it is one value of a key or of a list. */
  readonly written?: string;
  /** Part of it could not be read, and that has been reported: do not report what is missing in it. */
  readonly broken?: boolean;
}

/** The position of a value's key; of a value without a key, its own. */
export function keyPlace({ position, length, keyPosition = position, keyLength = length }: Located): Place {
  return { position: keyPosition, length: keyLength };
}

/** The plain object that a table of located values stands for. */
export function plainObject(fields: ReadonlyMap<string, Located>): Record<string, unknown> {
  return Object.fromEntries([...fields].map(([key, child]) => [key, child.value]));
}

/** The value at a key or an index, if there is one. */
export function childAt(located: Located | undefined, key: PropertyKey): Located | undefined {
  return located?.fields?.get(String(key)) ?? located?.items?.[Number(key)];
}

/** The values of a section or an object by key, or of a list by index. */
export function childrenOf({ fields, items }: Located): Iterable<[PropertyKey, Located]> {
  return fields?.entries() ?? items?.entries() ?? [];
}

/** The value itself and all that it holds. */
export function* everything(located: Located): Iterable<Located> {
  yield located;
  for (const [, child] of childrenOf(located)) yield* everything(child);
}
