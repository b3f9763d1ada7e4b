/**
 * The child process of the row crash-images: opens stores as the server does, and tells what they hold. What is wrong with a
 * file may end the process that maps it.
 */
import { EmbeddedStore as Storage } from '../../../host/storage/embedded.js';
import { EmbeddedStore as Sessions } from '../../../plugins/sessman/stores/embedded/index.js';
import { scrubAll } from '../../../plugins/sessman/stores/embedded/manifest.js';

export interface Order {
  readonly kind: 'sessions' | 'storage';
  readonly folder: string;
  /** Handles of sessions. */
  readonly names: readonly string[];
}

/** What the names hold, those that hold nothing left out; or why it cannot be told. */
export interface Reply {
  readonly held?: Readonly<Record<string, string>>;
  readonly error?: string;
}

/** What tells one state of a session from another. */
export function sessionState(version: number, data: unknown, secretHash: Uint8Array): string {
  return `version ${version}, ${JSON.stringify(data)}, ${Buffer.from(secretHash).toString('base64url')}`;
}

async function sessionsIn({ folder, names }: Order): Promise<Record<string, string>> {
  const store = await Sessions.openClaimed(folder);
  try {
    const held: Record<string, string> = {};
    for (const name of names) {
      const record = await store.read(name, Date.now());
      if (record) held[name] = sessionState(record.version, JSON.parse(record.data), record.secretHash);
    }
    const { records, damaged, repaired } = await scrubAll(store);
    if (damaged + repaired > 0) throw new Error(`a scrub found ${damaged} damaged and repaired ${repaired}`);
    if (records !== Object.keys(held).length)
      throw new Error(`${records} records, of which nobody knows some`);
    return held;
  } finally {
    await store.close();
  }
}

async function valuesIn({ folder }: Order): Promise<Record<string, string>> {
  const store = await Storage.openClaimed(folder);
  try {
    const all = store.page({ from: '', to: '\u{10ffff}', limit: Number.POSITIVE_INFINITY, reverse: false });
    return Object.fromEntries(
      all.map(([place, { text }]) => [place.slice(place.lastIndexOf('/') + 1), text]),
    );
  } finally {
    await store.close();
  }
}

process.on('message', async (order: Order) => {
  const reply: Reply = await (order.kind === 'sessions' ? sessionsIn(order) : valuesIn(order)).then(
    (held) => ({ held }),
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  );
  process.send!(reply);
});
// Lives as long as its parent is connected.
process.on('disconnect', () => process.exit());
