import type { Discovery } from './discovery.js';

/**
 * The files that a generation of workers has read, except the plugins' code. A worker that replaces another receives it, so that
 * later changes do not take effect without a reload. Plain data: it is sent between processes.
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

/** Reads files from a snapshot. A file that did not exist when it was taken does not exist for its readers. */
export function readerOfSnapshot({ texts }: Snapshot): (path: string) => string {
  const byPath = new Map(texts);
  return (path) => {
    const text = byPath.get(path);
    if (text === undefined)
      throw Object.assign(new Error(`${path} is not in the snapshot`), { code: 'ENOENT' });
    return text;
  };
}
