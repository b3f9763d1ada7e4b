import type { Logger, SettingPath, z } from 'plugin-server';
import type { Store } from '../store.js';

/** A kind of store that an operator can choose: an entry of the table in index.ts. */
export interface StoreKind<Shape extends z.ZodRawShape = z.ZodRawShape> {
  /** The keys of sessman.json that belong to this store alone, with their schemas. */
  readonly settings: Shape;
  /** Whether these settings select this store where `backend` is not set. */
  isMeant(settings: Values<Shape>): boolean;
  /** Reports what the schemas cannot check. Runs whichever store is selected. */
  check?(settings: Values<Shape> & { readonly backend?: string }, report: ReportSetting): void;
  /** Loads the store's code and opens it. */
  open(settings: Values<Shape>, place: StorePlace): Promise<Store>;
}

/** The parts of the server that a store may use. */
export interface StorePlace {
  /** Where the store keeps its files unless its settings say otherwise. */
  readonly folder: string;
  /** Resolves a path as written in the configuration. */
  resolvePath(path: string): string;
  /** Where a setting stands in the configuration. */
  settingOf(key: string): SettingPath;
  readonly log: Logger;
  /** The disk failed again after another process had opened the store: it must not be written. */
  readonly isReadOnly: boolean;
  /** Called once when the store's disk has failed: the store can never work again in this process. */
  onFailed(error: Error): void;
  /** Asks for another process in place of this one. */
  retire(reason: string): void;
}

/** Logged at the start, once version 0.1.0 cannot use the store. */
export const raisedStore =
  'the session store requires this version of plugin-server, or a later one, on every host';

/** Reports what is wrong with a key and what to write instead. */
export type ReportSetting = (key: string, message: string) => void;

type Values<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape>>;

/** Types an entry of the table: inside with its own settings, outside as any store. */
export function storeKind<Shape extends z.ZodRawShape>(kind: StoreKind<Shape>): StoreKind {
  return kind as unknown as StoreKind;
}
