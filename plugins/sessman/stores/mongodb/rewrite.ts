import { setTimeout as sleep } from 'node:timers/promises';
import { sessmanError } from '../../errors.js';
import { type Change, type Match, matches, type SessionRecord, type Store } from '../../store.js';

const maxAttempts = 100;
/** Milliseconds. */
const maxPause = 32;

/** `Store.rewrite` for a store that can only read and write. The version tells whether another writer was faster. */
export async function rewriteByVersion(
  store: Pick<Store, 'read' | 'write'>,
  match: Match,
  change: Change,
  rewrite: (data: string) => string,
): Promise<SessionRecord | undefined> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const current = await store.read(match.handle, match.now);
    if (!current || !matches(current, match)) return undefined;
    const data = rewrite(current.data);
    const written = await store.write({ ...match, version: current.version }, { ...change, data });
    if (written) return written;
    await sleep(Math.random() * Math.min(2 ** attempt, maxPause));
  }
  throw sessmanError('session_busy', { headers: { 'Retry-After': '1' } });
}
