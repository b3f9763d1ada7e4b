import { hash, randomBytes } from 'node:crypto';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';

/**
 * A process that makes sessions of 4 kB one after the other in the store of the folder given, and says of each how it
 * went, until it was told to stop, or has made as many as were asked for.
 */
const [folder, count] = process.argv.slice(2);
const store = EmbeddedStore.open(folder!);
process.on('disconnect', () => process.exit());
for (let n = 0; n < Number(count); n++) {
  const now = Date.now();
  const handle = randomBytes(12).toString('base64url');
  try {
    await store.insert({
      handle,
      secretHash: hash('sha256', handle, 'buffer'),
      userid: 'mary',
      data: JSON.stringify({ filling: 'x'.repeat(4000) }),
      version: 1,
      created: now,
      touched: now,
      expires: now + 60_000,
      ends: now + 600_000,
    });
    process.send?.({ handle });
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    process.send?.({ code, message });
    break;
  }
}
await store.close();
process.disconnect?.();
