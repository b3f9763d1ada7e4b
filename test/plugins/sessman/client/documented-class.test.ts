import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { packageFolder } from '../../../../host/package-layout.js';
import { startServer } from '../../../support/server.js';
import { type Api, apiOf, aUser, backends } from '../support/api.js';

/** The page that documents the class, where there is a copy of it. */
const page = process.env.TEST_SEED_PAGE ?? join(packageFolder, '../shared/seed/sessions.txt');

interface DocumentedSession {
  session_id: string;
  data: Record<string, unknown>;
  updateSession(): Promise<void>;
}

for (const { name, settings } of backends) {
  describe(`the documented class on the ${name} store`, () => {
    let api: Api;
    before(async () => {
      // With a trailing comma, as the page's own file has one.
      const text = JSON.stringify({ ...(await settings()), session_ttl: 86400 }).replace(/\}$/, ',\n}');
      api = apiOf(
        await startServer({
          ini: '[plugin_parms]\nsessman=json=sessman.json\n',
          files: { 'sessman.json': text },
        }),
      );
    });
    after(() => api?.close());

    it('makes these calls, and gets back what it needs', async () => {
      const headers = { 'Content-type': 'text/javascript' };
      const made = await api.post('/sessman/new?user=mary', undefined, {
        headers,
        body: JSON.stringify({ data: { cart: [] } }),
      });
      expect(made.status).to.equal(200);
      expect(made.body.session_id).to.be.a('string');
      expect(made.body.data).to.deep.equal({ cart: [] });

      const updated = await api.post(`/sessman/update?session_id=${made.body.session_id}`, undefined, {
        headers,
        body: JSON.stringify({ data: { cart: ['apple'] } }),
      });
      expect(updated.status).to.equal(200);
      expect(updated.body.data).to.deep.equal({ cart: ['apple'] });

      const read = await api.post(`/sessman/get?sessionid=${made.body.session_id}&userid=mary`, undefined, {
        headers,
        body: '',
      });
      expect(read.status).to.equal(200);
      expect(read.body.data).to.deep.equal({ cart: ['apple'] });
    });

    if (existsSync(page)) {
      it('works as it stands on the page', async () => {
        const text = readFileSync(page, 'utf8');
        const source = text.slice(text.search(/^class Session \{/m));
        const complaints: unknown[][] = [];
        const console = { log: () => {}, error: (...complaint: unknown[]) => complaints.push(complaint) };
        const Session = new Function('console', `${source}\nreturn Session;`)(console) as {
          create(user: string, options: object): Promise<DocumentedSession>;
        };

        const user = aUser();
        const session = await Session.create(encodeURIComponent(user), {
          base_url: `${api.server.url}/sessman`,
          data: { visits: 1 },
        });
        expect(session.session_id).to.match(/^[\w-]{43}$/);
        expect(session.data).to.deep.equal({ visits: 1 });
        session.data.visits = 2;
        await session.updateSession();
        expect(session.data).to.deep.equal({ visits: 2 });
        expect(complaints).to.deep.equal([]);

        const read = await api.post('/sessman/get', { session_id: session.session_id, userid: user });
        expect(read.body).to.include({ version: 2, userid: user });
        expect(read.body.data).to.deep.equal({ visits: 2 });
      });
    }
  });
}
