import { z } from 'plugin-server';
import { jumpMessage } from '../../../../databases/clock.js';
import { raisedStore, storeKind } from '../store-kind.js';

/** The embedded store, which is used where nothing else is set. */
export const embedded = storeKind({
  settings: {
    path: z
      .string()
      .min(1)
      .optional()
      .meta({ description: "the embedded store's folder, by default under `[paths] data`" }),
  },
  isMeant: () => true,
  async open({ path }, place) {
    const { EmbeddedStore } = await import('./index.js');
    const folder = path === undefined ? place.folder : place.resolvePath(path);
    const store = await EmbeddedStore.openClaimed(folder, {
      onFailed: (error) => place.onFailed(error),
      onUnusable: (reason) => {
        place.log.error({ folder }, reason);
        place.retire(reason);
      },
      isReadOnly: place.isReadOnly,
      onDamaged: (part) =>
        place.log.error(
          { part, folder },
          `${part} is damaged in the session store: its bytes are not what was written. Check the disk; end the session, or restore a backup`,
        ),
      onJump: (skew) => place.log.warn({ ms: skew, folder }, jumpMessage("this machine's clock", skew)),
      onLong: ({ pid, seconds }) =>
        place.log.warn(
          { pid, seconds, folder },
          `process ${pid} has been reading the session store for ${seconds} s; the file grows until it continues or ends`,
        ),
    });
    if (place.isReadOnly) {
      place.log.error(
        { folder },
        'the session store is read-only: its disk failed twice. Check the disk, then reload or restart the server',
      );
    }
    place.log.info({ store: 'embedded', folder }, 'sessions are kept in the embedded store');
    if (store.isRaised()) place.log.info({ store: 'embedded', folder }, raisedStore);
    return store;
  },
});
