import { access, mkdtemp, rm } from 'node:fs/promises';
import module from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Server } from '../../faults/support/server.js';

describe('the compiled code of a worker', () => {
  let cache: string;
  beforeEach(async () => {
    cache = await mkdtemp(join(tmpdir(), 'plugin-server-cache-'));
  });
  afterEach(() => rm(cache, { recursive: true }));

  const isKept = () =>
    access(join(cache, 'plugin-server')).then(
      () => true,
      () => false,
    );

  it("is kept in the user's cache for the next one where Node can do that", async () => {
    const server = await Server.start({
      env: { XDG_CACHE_HOME: cache, CACHE_DIRECTORY: undefined, NODE_V8_COVERAGE: undefined },
    });
    await server.stop();
    await server.close();
    expect(await isKept()).to.equal('enableCompileCache' in module);
  });

  it("is kept in systemd's cache folder where there is one", async () => {
    const server = await Server.start({
      env: { CACHE_DIRECTORY: cache, NODE_V8_COVERAGE: undefined },
    });
    await server.stop();
    await server.close();
    expect(await isKept()).to.equal('enableCompileCache' in module);
  });
});
