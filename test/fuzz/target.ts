import type fc from 'fast-check';

/** A property that must hold of every input that its generator makes. */
export interface Target {
  /** `npm run fuzz -- NAME` chooses those whose names begin with it. */
  readonly name: string;
  /** What holds, as a row of a table. */
  readonly property: string;
  /** Inputs of a long run, and in `npm test`. */
  readonly inputs: { readonly long: number; readonly quick: number };
  open(): Promise<Opened>;
}

export interface Opened {
  // biome-ignore lint/suspicious/noExplicitAny: inputs differ from target to target
  readonly property: fc.IRawProperty<any>;
  close(): Promise<void>;
}

/** A target that needs no server. */
// biome-ignore lint/suspicious/noExplicitAny: inputs differ from target to target
export function plain(property: fc.IRawProperty<any>): () => Promise<Opened> {
  return async () => ({ property, close: async () => {} });
}
