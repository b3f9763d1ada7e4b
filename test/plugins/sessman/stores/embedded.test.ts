import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { describeSessions } from '../../../contracts/sessions.js';
import { describeStore } from '../../../contracts/store.js';

for (const describeContract of [describeStore, describeSessions]) {
  describeContract('EmbeddedStore', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    return { open: async () => EmbeddedStore.open(folder), remove: () => rm(folder, { recursive: true }) };
  });
}
