import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedStore } from '../../../host/storage/embedded.js';
import { describeStorage } from '../../contracts/storage.js';

describeStorage('EmbeddedStore', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'storage-'));
  return { open: async () => EmbeddedStore.open(folder), remove: () => rm(folder, { recursive: true }) };
});
