import { readdirSync, readlinkSync } from 'node:fs';
import { expect } from 'chai';
import type { Control } from '../../../host/control.js';
import { errors } from '../../../plugins/sessman/errors.js';
import { startServer } from '../../support/server.js';
import { startApi } from './support/api.js';

describe('sessman in its process', () => {
  it('writes nothing once the disk failed in two processes before, and says so', async () => {
    const { message } = errors.store_failed;
    const first = await startServer();
    try {
      await first.host.close();
      const path = `${first.folder}/data/sessman/store`;
      for (const [retirements, status] of [
        [[], 200],
        [[message, 'another reason'], 200],
        [[message, 'another reason', message], 503],
      ] as const) {
        const control: Control = {
          reload: () => Promise.reject(new Error('not here')),
          metrics: async () => [],
          retirements,
        };
        const api = await startApi({ path }, { control });
        try {
          const made = await api.post('/sessman/new', { userid: 'ann' });
          expect(made.status).to.equal(status);
          const isTold = api.server.logs.some(
            ({ level, msg }) => /is read-only/.test(msg) && level === 'error',
          );
          expect(isTold).to.equal(status === 503);
          if (status !== 200) expect(made.body.code).to.equal('store_failed');
        } finally {
          await api.close();
        }
      }
    } finally {
      await first.close();
    }
  });

  it('has closed the files of its store when the server has closed', async () => {
    const server = await startServer();
    const open = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${server.folder}/data/sessman`);
        } catch {
          return false;
        }
      });
    expect(open()).not.to.deep.equal([]);
    await server.host.close();
    expect(open()).to.deep.equal([]);
    await server.close();
  });
});
