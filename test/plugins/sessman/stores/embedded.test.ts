import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring } from '../../../../plugins/sessman/stores/keyring.js';
import { describeSessions } from '../../../contracts/sessions.js';
import { describeStore } from '../../../contracts/store.js';

const key = randomBytes(32).toString('base64');

for (const describeContract of [describeStore, describeSessions]) {
  describeContract('EmbeddedStore', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    return {
      rounds: 200,
      open: async () => EmbeddedStore.open(folder),
      remove: () => rm(folder, { recursive: true }),
    };
  });
  describeContract('EmbeddedStore with encryption', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    return {
      rounds: 200,
      open: async () => encryptStore(EmbeddedStore.open(folder), new Keyring([key])),
      remove: () => rm(folder, { recursive: true }),
    };
  });
}
