import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import sinon from 'sinon';
import { MAX_NETWORKS } from '../../../host/http/refused-keys.js';
import { type ServerProcess, startHello } from '../../support/process.js';
import { type LogLine, startServer, type TestServer } from '../../support/server.js';

const key = 'the-key-of-the-operators';
const auth = `[auth]\napikey=${key}\n`;
const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };

const trace = '0af7651916cd43dd8448eb211c80319c';
const parent = 'b7ad6b7169203331';

describe('audit lines', () => {
  describe('of a server with workers, at the level error', () => {
    let server: ServerProcess;
    before(async () => {
      server = await startHello({
        ini: `[log]\nlevel=error\n${auth}`,
        args: ['--watch'],
      });
    });
    after(() => server.close());

    const reloaded = async (act: () => unknown) => {
      const line = server.until(({ event }) => event === 'reload', server.logs.length);
      await act();
      return line;
    };

    it('say when it starts', async () => {
      const line = await server.until(({ event }) => event === 'server_start');
      expect(line).to.include({ audit: true, url: server.url });
    });

    it('say who asked for a reload, and how it ended', async () => {
      const bySignal = await reloaded(() => server.signal('SIGHUP'));
      expect(bySignal).to.deep.include({
        audit: true,
        level: 'info',
        outcome: 'success',
        asked_by: [{ by: 'SIGHUP' }],
      });
      const byCommand = await reloaded(() => server.command('reload'));
      expect(byCommand.asked_by).to.deep.equal([{ by: 'command' }]);
      const byRequest = await reloaded(() =>
        server.fetch('/reload/all', {
          method: 'POST',
          headers: {
            ...headers,
            'X-Request-Id': 'asked-1',
            traceparent: `00-${trace}-${parent}-01`,
          },
        }),
      );
      expect(byRequest.asked_by).to.deep.equal([
        { by: 'http', client: '127.0.0.1', request_id: 'asked-1', trace_id: trace, parent_id: parent },
      ]);
      const ini = join(server.folder, 'plugin-server.ini');
      const text = await readFile(ini, 'utf8');
      const byWatch = await reloaded(() => writeFile(ini, `${text}\n[limits]\nbdy=int:2\n`));
      expect(byWatch).to.deep.include({ level: 'error', outcome: 'failure', asked_by: [{ by: 'watch' }] });
      expect(byWatch.problems).to.have.length(1);
      await reloaded(() => writeFile(ini, text));
      expect(server.logs.every(({ audit, level }) => audit === true || level === 'error')).to.equal(true);
    });

    it('say when it stops', async () => {
      server.signal('SIGTERM');
      expect(await server.until(({ event }) => event === 'server_stop')).to.include({ audit: true });
    });
  });

  describe('of refused keys', () => {
    let server: TestServer;
    let clock: sinon.SinonFakeTimers;
    beforeEach(async () => {
      server = await startServer({ ini: `[network]\nproxy=bool:true\nhosts=127.0.0.1\n${auth}` });
      clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    });
    afterEach(async () => {
      clock.restore();
      await server.close();
    });

    const refuse = async (client: string) => {
      const response = await server.fetch('/plugins', {
        headers: { Authorization: 'Bearer wrong', 'X-Forwarded-For': client },
      });
      expect(response.status).to.equal(401);
    };
    const lines = () => server.logs.filter(({ event }) => event === 'key_refused');

    it('come for the first of a network at once, then once a minute with their number', async () => {
      for (const client of [
        '198.51.100.1',
        '198.51.100.2',
        '[2001:db8::1]:4001',
        '2001:db8::2',
        '198.51.100.1',
      ])
        await refuse(client);
      expect(lines().map(({ network, count }) => [network, count])).to.deep.equal([
        ['198.51.100.0/24', 1],
        ['2001:db8:0:0::/64', 1],
      ]);
      expect(lines()[0]).to.include({ audit: true, plugin: 'plugin-server', client: '198.51.100.1' });
      expect(lines()[1]).to.include({ client: '2001:db8::1' }).and.to.have.property('request_id');
      clock.tick(60_000);
      expect(lines().slice(2)).to.have.length(2);
      expect(lines()[2]).to.include({ network: '198.51.100.0/24', count: 2 });
      // A quiet minute is not worth a line, and the next key after it comes at once.
      clock.tick(60_000);
      expect(lines()).to.have.length(4);
      await refuse('198.51.100.7');
      expect(lines()[4]).to.include({ network: '198.51.100.0/24', count: 1, client: '198.51.100.7' });
    });

    it('are bounded, whatever addresses a stranger has, and lose no count at a stop', async () => {
      const clients = MAX_NETWORKS + 20;
      for (let i = 0; i < clients; i += 1) await refuse(`10.0.${i}.1`);
      expect(lines()).to.have.length(MAX_NETWORKS + 1);
      clock.restore();
      await server.close();
      const counted = lines().reduce((sum, { count }) => sum + (count as number), 0);
      expect(counted).to.equal(clients);
      expect(lines().at(-1)).to.include({ network: 'others', count: 19 });
    });
  });

  describe('of ended sessions', () => {
    let server: TestServer;
    before(async () => {
      server = await startServer({ ini: auth });
    });
    after(() => server.close());

    const call = async (path: string, body: object) => {
      const from = server.logs.length;
      const response = await server.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(response.status).to.equal(200);
      const audited = server.logs.slice(from).filter(({ audit }) => audit === true);
      const id = response.headers.get('X-Request-Id');
      const { handle, session_id } = (await response.json()) as { handle: string; session_id: string };
      return { audited, id, handle, session_id };
    };
    const make = () => call('/sessman/new', { userid: 'ann@example.org' });
    const expectLine = (lines: readonly LogLine[], about: object) => {
      expect(lines).to.have.length(1);
      expect(lines[0]).to.include({ event: 'session_ended', client: '127.0.0.1', ...about });
    };

    it('name the handle, the client and the request, never the id or the user', async () => {
      const { handle, session_id } = await make();
      const { audited, id } = await call('/sessman/end', { userid: 'ann@example.org', handle });
      expectLine(audited, { plugin: 'sessman', handle, request_id: id });
      expect(server.logText()).not.to.include(session_id).and.not.to.include('ann@');
    });

    it('count the sessions of a user, or of all', async () => {
      await make();
      await make();
      const one = await call('/sessman/end_all', { userid: 'ann@example.org' });
      expectLine(one.audited, { count: 2 });
      expect((await call('/sessman/end_all', { userid: 'ann@example.org' })).audited).to.be.empty;
      await make();
      expectLine((await call('/sessman/end_all', { everyone: true })).audited, { count: 1, everyone: true });
    });

    it('come from the admin page, too', async () => {
      const { handle } = await make();
      await make();
      const end = await call('/admin/api/sessions/end', { userid: 'ann@example.org', handle });
      expectLine(end.audited, { plugin: 'admin', handle, request_id: end.id });
      const all = await call('/admin/api/sessions/end_all', { userid: 'ann@example.org' });
      expectLine(all.audited, { plugin: 'admin', count: 1 });
    });

    it('do not come for a logout, which the application asks for with the id', async () => {
      const { session_id } = await make();
      expect((await call('/sessman/end', { session_id })).audited).to.be.empty;
    });
  });
});
