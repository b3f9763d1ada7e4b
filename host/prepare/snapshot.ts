import type { Discovery } from './discovery.js';

/**
 * What a generation of workers has read of the disk, but for the plugins' code. A worker that replaces a fallen one is
 * given it, so that what has changed since cannot slip in without a reload. Plain data: it crosses between processes.
 */
export interface Snapshot {
  /** The configuration's files: path and text. */
  readonly texts: readonly (readonly [path: string, text: string])[];
  readonly discovery: Discovery;
  readonly tls?: TlsFiles | undefined;
}

/** PEM texts. */
export interface TlsFiles {
  readonly key: string;
  readonly cert: string;
}

/** Reads files out of a snapshot. One that was not there when it was taken is not there for its readers either. */
export function readerOfSnapshot({ texts }: Snapshot): (path: string) => string {
  const byPath = new Map(texts);
  return (path) => {
    const text = byPath.get(path);
    if (text === undefined)
      throw Object.assign(new Error(`${path} is not in the snapshot`), { code: 'ENOENT' });
    return text;
  };
}
