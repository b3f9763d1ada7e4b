import { HttpError, SettingError, type z } from 'plugin-server';
import { StoreRefusal } from '../../../databases/refusal.js';
import { StoreError } from '../errors.js';
import type { Store, StoreClock } from '../store.js';
import { embedded } from './embedded/settings.js';
import { encryptStore } from './encrypted-store.js';
import { Keyring, plain } from './keyring.js';
import { mongodb } from './mongodb/settings.js';
import { noneCanBeRead } from './reencrypt.js';
import type { ReportSetting, StoreKind, StorePlace } from './store-kind.js';

/**
 * The stores that can keep sessions, by their names in `backend`. Without `backend`, the first one that the settings
 * select is used. A new store is a folder beside this file, an entry here, and a test that runs the contract in
 * test/contracts/store.ts.
 */
const stores: Readonly<Record<string, StoreKind>> = { mongodb, embedded };

export const storeNames = Object.keys(stores);

/** The keys of sessman.json that belong to one store or another. */
export const storeSettings: z.ZodRawShape = Object.assign(
  {},
  ...Object.values(stores).map(({ settings }) => settings),
);

/** The part of sessman.json that is about stores: `backend`, and the keys of `storeSettings`. */
export type StoreSettings = Readonly<Record<string, unknown>> & { readonly backend?: string | undefined };

/** Reports problems of these settings that no schema can find. */
export function checkStoreSettings(settings: StoreSettings, report: ReportSetting): void {
  for (const { check } of Object.values(stores)) check?.(settings as never, report);
}

/** Opens the store that the settings select. The code of the others is not loaded. */
export async function openStore(
  settings: StoreSettings,
  place: StorePlace,
  keys: Keyring | undefined,
): Promise<Store> {
  const isChosen = ([name, kind]: [string, StoreKind]) =>
    settings.backend === undefined ? kind.isMeant(settings) : name === settings.backend;
  const [, kind] = Object.entries(stores).find(isChosen)!;
  const store = await kind.open(settings, place);
  const ring = keys ?? new Keyring([plain]);
  if (await failsToRead(store, ring)) {
    await store.close();
    throw new SettingError(
      place.settingOf('encryption_key'),
      keys
        ? 'no key of encryption_key opens the sessions of the store; list the key that encrypted them as well, or "plain" where they are not encrypted'
        : 'the sessions of the store are encrypted; write encryption_key with the key that encrypted them',
    );
  }
  return encryptStore(store, ring);
}

/** A store that cannot be reached says nothing. */
async function failsToRead(store: Store, keys: Keyring): Promise<boolean> {
  try {
    if (!keys.encrypts && !(await store.isRaised())) return false;
    return await noneCanBeRead(store, keys);
  } catch (error) {
    if (error instanceof StoreError) return false;
    throw error;
  }
}

/**
 * Says how far this host's clock is from the store's.
 * @param limit seconds; 0 for none
 * @throws HttpError where it is further away, with a message that everyone may read at /readyz
 */
export function checkClock({ skew, error, isDoubtful }: StoreClock, limit: number): string {
  if (skew === undefined) return "the store's time is not known yet";
  const ahead = `${(Math.abs(skew) / 1000).toFixed(3)} s ${skew < 0 ? 'behind' : 'ahead of'} the store's`;
  const precisely = error > 0 ? `, to within ${(error / 1000).toFixed(3)} s` : '';
  const doubt = isDoubtful ? '; a clock has jumped, so nothing that has expired is removed' : '';
  const about = `this host's clock is ${ahead}${precisely}${doubt}`;
  if (limit > 0 && Math.abs(skew) > limit * 1000) throw new HttpError(503, 'clock_skew', about);
  return about;
}

/** Resolves when the store can work. Rejects with a message that everyone may read at /readyz. */
export async function checkStore(store: Store): Promise<void> {
  try {
    await store.check();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { status, code, message, cause } = error;
    const reason = cause instanceof StoreRefusal ? `${cause.summary}; the log says what to do` : message;
    throw new HttpError(status, code, `${code}: ${reason}`, { cause });
  }
}
