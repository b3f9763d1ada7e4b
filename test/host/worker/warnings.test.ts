import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';

describe('a warning about the configuration', () => {
  it('is logged once at each start and reload, however many workers there are', async () => {
    const server = await ServerProcess.start({
      ini: '[network]\nworkers=int:3\n[auth]\napikey=guessable\n',
    });
    const count = () => server.logs.filter(({ msg }) => msg.includes('this API key has 9 characters')).length;
    try {
      expect(count()).to.equal(1);
      const reloaded = server.next('reloaded');
      server.signal('SIGHUP');
      await reloaded;
      expect(count()).to.equal(2);
    } finally {
      await server.close();
    }
  });
});
