import { markStoreFolder as mark, prepareStoreFolder as prepare } from '../../../../databases/lmdb/folder.js';

const layout = {
  file: 'sessions.mdb',
  owner: 'sessman',
  format: 1,
  store: 'the session store',
  content: 'sessions',
  setting: 'path or [paths] data',
  ownSetting: 'path',
};

/** The name of the file in a store's folder that holds the sessions. */
export const storeFile = layout.file;

/**
 * Creates a store's folder, which only its owner may open, or checks the existing one.
 * @returns the path of the store's file
 * @throws StoreFileError
 */
export function prepareStoreFolder(folder: string): string {
  return prepare(folder, layout);
}

/** Marks the folder as one that holds a store. */
export function markStoreFolder(folder: string): void {
  mark(folder, layout);
}
