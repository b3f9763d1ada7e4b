import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { MongoClient } from 'mongodb';
import { type Api, aUser, backends, startApi } from './support/api.js';

for (const { name, settings } of backends) {
  describe(`the ${name} store and the log`, () => {
    let api: Api;
    let config: { server_url?: string; username?: string; password?: string; database?: string };
    const ids: string[] = [];
    const secrets: string[] = [];
    before(async () => {
      config = await settings();
      api = await startApi(config, { logLevel: 'trace' });
      const userid = aUser();
      for (let n = 0; n < 20; n++) {
        const made = await api.post('/sessman/new', { userid, data: { secret: 'in the data' } });
        const renewed = await api.post('/sessman/renew', { session_id: made.body.session_id });
        ids.push(made.body.session_id, renewed.body.session_id);
      }
      const id = ids[1]!;
      for (const path of [
        `/sessman/get?session_id=${id}&userid=${encodeURIComponent(userid)}`,
        `/sessman/get?session_id=${id}`,
        `/sessman/${id}`,
        `/sessman/get/${id}?x=${id}`,
        `/${id}`,
      ]) {
        await api.get(path, {
          headers: { 'X-Session-Id': id, Cookie: `PS_SESSID=${id}`, Referer: `http://x/${id}` },
        });
      }
      await api.post('/sessman/update', { session_id: id, data: { secret: 'in the data' }, version: 99 });
      await api.post('/sessman/update', { session_id: id, date: 'in the data' });
      await api.post('/sessman/end', { session_id: ids[3] });
      secrets.push(...ids, ...ids.map((each) => each.slice(16)));
      if (config.password) secrets.push(config.password, encodeURIComponent(config.password));
    });
    after(() => api?.close());

    it('hold no session id, and the log no data or password', () => {
      const log = api.server.logText();
      expect(log.length).to.be.greaterThan(1000);
      expect(secrets.filter((secret) => log.includes(secret))).to.deep.equal([]);
      expect(log).not.to.include('in the data');
    });

    it('keep no session id as text or bytes', async () => {
      const kept = config.server_url ? await documents() : await files();
      expect(
        kept.includes(ids[1]!.slice(0, 16)) || kept.includes(Buffer.from(ids[1]!.slice(0, 16), 'base64url')),
      ).to.equal(true);
      for (const id of ids) {
        const secret = id.slice(16);
        expect(kept.includes(secret)).to.equal(false);
        expect(kept.includes(Buffer.from(secret, 'base64url'))).to.equal(false);
      }
    });

    async function files(): Promise<Buffer> {
      const folder = join(api.server.folder, 'data/sessman/store');
      const entries = await readdir(folder, { withFileTypes: true });
      const names = entries.filter((each) => each.isFile()).map(({ name }) => name);
      return Buffer.concat(await Promise.all(names.map((each) => readFile(join(folder, each)))));
    }

    async function documents(): Promise<Buffer> {
      const { server_url, username, password, database } = config;
      const client = new MongoClient(`mongodb://${server_url}`, {
        auth: { username: username!, password: password! },
        authSource: database!,
      });
      try {
        const all = client.db(database).collection('sessions').find({}, { raw: true });
        return Buffer.concat(((await all.toArray()) as unknown as Buffer[]).map((each) => Buffer.from(each)));
      } finally {
        await client.close();
      }
    }
  });
}
