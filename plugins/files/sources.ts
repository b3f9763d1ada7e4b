import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { versionOf } from './folder.js';

/** A file that a page is made of, in the version that was used. */
export interface Source {
  readonly path: string;
  /** Empty for a file that was not there. */
  readonly version: string;
  readonly modified: Date;
}

export function sourceOf(path: string, stat: BigIntStats): Source {
  return { path, version: versionOf(stat), modified: stat.mtime };
}

/** A file that was looked for in vain: once it is there, the page changes. */
export function missing(path: string): Source {
  return { path, version: '', modified: new Date(0) };
}

/** Whether all the files are as they were. */
export async function areCurrent(sources: readonly Source[]): Promise<boolean> {
  const current = await Promise.all(
    sources.map(async ({ path, version }) => {
      const now = await stat(path, { bigint: true }).then(versionOf, () => '');
      return now === version;
    }),
  );
  return current.every(Boolean);
}

/** When the last of the files was changed. */
export function lastModified(sources: readonly Source[]): Date {
  return new Date(Math.max(...sources.map(({ modified }) => modified.getTime())));
}
