import type { Store } from '../store.js';

/**
 * Changes a fact that belongs to a duty. The fence of the lease is kept with it, and compared in the same step: false,
 * with nothing changed, where a later holder has changed it.
 */
export async function changeFenced<T extends object>(
  store: Pick<Store, 'changeFact'>,
  name: string,
  fence: number,
  change: (before: T | undefined) => T,
): Promise<boolean> {
  let isLatest = true;
  await store.changeFact<T & { readonly fence?: number }>(name, (before) => {
    isLatest = (before?.fence ?? 0) <= fence;
    return isLatest || !before ? { ...change(before), fence } : before;
  });
  return isLatest;
}
