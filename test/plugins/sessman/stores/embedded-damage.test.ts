import { randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

describe('damage to a session in a running embedded store', () => {
  let server: TestServer;
  let id: string;
  const filling = 'x'.repeat(20_000);

  beforeEach(async () => {
    server = await startServer();
    const answer = await post('new', { userid: 'ann', data: { filling } });
    id = ((await answer.json()) as { session_id: string }).session_id;
  });
  afterEach(() => server.close());

  const post = (path: string, body: object) =>
    server.fetch(`/sessman/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  const get = () => server.fetch('/sessman/get', { headers: { 'x-session-id': id } });

  /** Overwrites a piece of the session's data where the store keeps it. */
  async function damage(bytes: Buffer): Promise<void> {
    const path = join(server.folder, 'data/sessman/store/sessions.mdb');
    const at = (await readFile(path)).indexOf('x'.repeat(5000));
    const file = await open(path, 'r+');
    await file.write(bytes, 0, bytes.length, at + 4000);
    await file.close();
  }

  for (const [what, bytes] of [
    ['noise', randomBytes(4096)],
    ['zeros', Buffer.alloc(4096)],
  ] as const) {
    it(`by ${what} is answered 503, and never served`, async () => {
      await damage(bytes);
      const answer = await get();
      expect(answer.status).to.equal(503);
      expect(await answer.json()).to.include({ code: 'store_damaged' });
      const patched = await post('patch', { session_id: id, data: { a: 1 } });
      expect(patched.status).to.equal(503);
    });
  }

  it('leaves the session able to be replaced, and to be ended', async () => {
    await damage(randomBytes(4096));
    expect((await post('update', { session_id: id, data: { a: 1 } })).status).to.equal(200);
    expect(((await (await get()).json()) as { data: object }).data).to.deep.equal({ a: 1 });
    const other = (await (await post('new', { userid: 'bob', data: { filling } })).json()) as {
      session_id: string;
    };
    id = other.session_id;
    await damage(randomBytes(4096));
    expect((await post('end', { session_id: id })).status).to.equal(200);
    expect((await get()).status).to.equal(404);
  });

  it('is not seen in data that holds the replacement character itself', async () => {
    const data = { text: 'a \ufffd b', nul: '\0' };
    const answer = await post('update', { session_id: id, data });
    expect(answer.status).to.equal(200);
    expect(((await (await get()).json()) as { data: object }).data).to.deep.equal(data);
  });
});
