import type { Position } from './problem.js';

/** A value that remembers where it was written, down through lists and JSON. */
export interface Located {
  readonly value: unknown;
  /** Where the value starts; of a section, its name. */
  readonly position: Position;
  /** How many characters it takes there. */
  readonly length: number;
  readonly keyPosition?: Position;
  readonly keyLength?: number;
  /** Its key sounds like a secret, a schema says it is one, or one was interpolated into it. */
  readonly secret: boolean;
  /** Of a section or an object by key (matched without case where INI text gave the keys), of a list by index. */
  readonly children?: ReadonlyMap<string, Located> | readonly Located[];
  /** How it was written, which is how a message says what to write. */
  readonly notation: 'section' | 'ini' | 'parameter' | 'json';
  /** It could not be read, and that has been reported: whoever looks at it stays silent. */
  readonly broken?: boolean;
}

/** The plain object that a table of located values stands for. */
export function plainValue(children: ReadonlyMap<string, Located>): Record<string, unknown> {
  return Object.fromEntries([...children].map(([key, child]) => [key, child.value]));
}

/** What lies under a key or an index. */
export function childAt(located: Located, key: PropertyKey): Located | undefined {
  const { children } = located;
  if (children === undefined) return undefined;
  return Array.isArray(children)
    ? children[Number(key)]
    : (children as ReadonlyMap<string, Located>).get(String(key));
}
