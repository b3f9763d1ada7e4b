import type { RootDatabase } from 'lmdb';

/** The size of an LMDB file up to the last page that was ever in use, and how much of that is in pages that hold nothing. Bytes. */
export interface Pages {
  readonly bytes: number;
  readonly free: number;
}

/** @param databases all that are in the file */
export function pagesOf(root: RootDatabase, databases: readonly { getStats(): object }[]): Pages {
  const { lastPageNumber, pageSize, root: names, free } = root.getStats() as unknown as RootStats;
  const trees = [names, free, ...databases.map((each) => each.getStats() as unknown as TreeStats)];
  const used = trees.reduce(
    (sum, each) => sum + each.treeBranchPageCount + each.treeLeafPageCount + each.overflowPages,
    metaPages,
  );
  return { bytes: (lastPageNumber + 1) * pageSize, free: (lastPageNumber + 1 - used) * pageSize };
}

interface TreeStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface RootStats {
  readonly lastPageNumber: number;
  readonly pageSize: number;
  readonly root: TreeStats;
  readonly free: TreeStats;
}

const metaPages = 2;
