import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { versionOf } from 'plugin-server';

/** A file that a page was made from, in the version that was read. */
export interface Source {
  readonly path: string;
  /** Empty for a file that did not exist. */
  readonly version: string;
  readonly modified: Date;
}

export function sourceOf(path: string, stat: BigIntStats): Source {
  return { path, version: versionOf(stat), modified: stat.mtime };
}

/** A file that was not found. Once it exists, the page changes. */
export function missing(path: string): Source {
  return { path, version: '', modified: new Date(0) };
}

/** Whether all the files are unchanged. */
export async function areCurrent(sources: readonly Source[]): Promise<boolean> {
  const current = await Promise.all(
    sources.map(async ({ path, version }) => {
      const now = await stat(path, { bigint: true }).then(versionOf, () => '');
      return now === version;
    }),
  );
  return current.every(Boolean);
}

/** When the newest of the files was modified. */
export function lastModified(sources: readonly Source[]): Date {
  return new Date(Math.max(...sources.map(({ modified }) => modified.getTime())));
}
