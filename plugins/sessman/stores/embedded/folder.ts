import { type Claim, openClaimed } from '../../../../databases/lmdb/claim.js';
import {
  markStoreFolder as mark,
  prepareStoreFolder as prepare,
  raiseFormat as raise,
  readMark,
} from '../../../../databases/lmdb/folder.js';

const layout = {
  file: 'sessions.mdb',
  owner: 'sessman',
  format: 1,
  /** What version 0.1.0 would not honour, epochs and encryption, turns a store into this format. */
  raisedFormat: 2,
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

/**
 * Opens the store of that folder, and keeps processes of other containers off while it is in use.
 * @throws StoreFileError when one of them uses the store
 */
export function openClaimedStore<Store>(folder: string, open: (claim: Claim) => Store): Promise<Store> {
  return openClaimed(folder, layout, open);
}

/** Marks the folder as one that holds a store. */
export function markStoreFolder(folder: string, isRaised = false): void {
  mark(folder, layout, isRaised ? layout.raisedFormat : layout.format);
}

/** Keeps version 0.1.0 from opening the store from now on. */
export function raiseFormat(folder: string): void {
  raise(folder, layout);
}

/** Whether a store was created in the folder. */
export function isMarked(folder: string): boolean {
  return readMark(folder, layout) !== undefined;
}

export function isRaised(folder: string): boolean {
  return readMark(folder, layout) === layout.raisedFormat;
}
