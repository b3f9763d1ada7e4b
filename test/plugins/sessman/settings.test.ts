import { rm } from 'node:fs/promises';
import { relative } from 'node:path';
import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { makeFolder, startServer, type TestServer } from '../../support/server.js';

describe("sessman's settings", () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
  });
  after(() => rm(folder, { recursive: true }));

  const problemsOf = async (
    json: string,
    ini = '[plugin_parms]\nsessman=json=sessman.json\n',
  ): Promise<string[]> => {
    try {
      await (await startServer({ folder, ini, files: { 'sessman.json': json } })).close();
      return [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map(
        ({ position: { file, line, column }, message, hint = '' }) =>
          `${relative(folder, file)}:${line}:${column}: ${message}; ${hint}`,
      );
    }
  };

  const wrong: [string, string, RegExp][] = [
    [
      'a misspelt key',
      '{\n  "sesion_ttl": 60\n}',
      /^sessman\.json:2:3: unknown key "sesion_ttl" .*did you mean "session_ttl"\?$/,
    ],
    [
      'text for a number',
      '{ "session_ttl": "60" }',
      /^sessman\.json:1:18: .*"session_ttl".* must be an integer/,
    ],
    ['no idle time', '{ "session_ttl": 0 }', /^sessman\.json:1:18: .* at least 1/],
    ['a negative age', '{ "session_max_age": -1 }', /^sessman\.json:1:22: .* at least 0/],
    ['no room for data', '{ "max_data": 1 }', /^sessman\.json:1:15: .* at least 2/],
    [
      'more data than a document holds',
      '{ "max_data": 16000000 }',
      /^sessman\.json:1:15: .* at most 15000000/,
    ],
    [
      'an unknown backend',
      '{ "backend": "redis" }',
      /^sessman\.json:1:14: .* must be "mongodb" or "embedded"/,
    ],
    ['mongodb without a server', '{ "backend": "mongodb" }', /^sessman\.json:1:14: .*requires server_url/],
    [
      'credentials for nothing',
      '{ "username": "u", "password": "hush" }',
      /^sessman\.json:1:15: .*requires server_url/,
    ],
    [
      'another scheme',
      '{ "server_url": "https://db:27017" }',
      /^sessman\.json:1:17: .*names no MongoDB server/,
    ],
    [
      'an unknown parameter in the URL',
      '{ "server_url": "db/?replicset=a" }',
      /^sessman\.json:1:17: .*replicset/,
    ],
    [
      'two users',
      '{ "server_url": "mongodb://u:hush@db", "username": "u" }',
      /^sessman\.json:1:17: .*keep one of them/,
    ],
    [
      'a password alone',
      '{ "server_url": "db", "password": "hush" }',
      /^sessman\.json:1:35: .*without username/,
    ],
    ['a database name that is none', '{ "server_url": "db", "database": "a b" }', /^sessman\.json:1:35: /],
    ['a collection name that ends in a dot', '{ "collection": "sessions." }', /^sessman\.json:1:17: /],
    ['a collection name with two dots', '{ "collection": "my..sessions" }', /^sessman\.json:1:17: /],
    ['a collection name that is none', '{ "collection": "system.users" }', /^sessman\.json:1:17: /],
    ['a page for an origin', '{ "cookie_origins": ["app"] }', /^sessman\.json:1:22: .*origin/],
  ];
  for (const [what, json, expected] of wrong) {
    it(`${what}: says where and what to write`, async () => {
      const problems = await problemsOf(json);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.match(expected).and.not.to.include('hush');
    });
  }

  it('take the documented file, trailing comma and odd password included', async () => {
    const json = `{
      "username": "ps_sessman",
      "password": "p@ss:w/ö#?;&%",
      "server_url": "127.0.0.1:1",
      "database": "sessman",
      "session_ttl": 86400,
    }`;
    // Nobody listens there: the server starts, and says so.
    const server = await startServer({
      folder,
      ini: '[plugin_parms]\nsessman=json=sessman.json\n',
      files: { 'sessman.json': json },
    });
    try {
      expect((await server.fetch('/readyz')).status).to.equal(503);
      expect(server.logText()).to.include('user \\"ps_sessman\\" at 127.0.0.1:1, database \\"sessman\\"');
      expect(server.logText()).not.to.include('p@ss');
    } finally {
      await server.close();
    }
  });

  it('may stand in the INI file', async () => {
    const server = await startServer({
      folder,
      ini: '[plugin_parms]\nsessman=session_ttl=int:7&max_data=int:50&path=elsewhere\n',
    });
    try {
      const made = await make(server);
      expect(Date.parse(made.expires_at) - Date.parse(made.created_at)).to.equal(7000);
      const large = { userid: 'mary', data: { a: 'x'.repeat(50) } };
      const refused = await server.fetch('/sessman/new', { method: 'POST', body: JSON.stringify(large) });
      expect(refused.status).to.equal(413);
    } finally {
      await server.close();
    }
    expect((await problemsOf('', '[plugin_parms]\nsessman=session_ttl=7\n')).join()).to.match(
      /^plugin-server\.ini:2:21: .*write session_ttl=int:7$/,
    );
  });

  it('keep the sessions in the folder named, over a restart', async () => {
    const options = { folder, ini: '[plugin_parms]\nsessman=path=elsewhere\n' };
    const first = await startServer(options);
    const made = await make(first);
    await first.close();
    const second = await startServer(options);
    const read = await second.fetch(`/sessman/get?userid=mary&session_id=${made.session_id}`);
    expect(await read.json()).to.deep.equal(made);
    await second.close();
  });
});

interface Made {
  readonly session_id: string;
  readonly created_at: string;
  readonly expires_at: string;
}

async function make(server: TestServer): Promise<Made> {
  return (await server.fetch('/sessman/new?userid=mary', { method: 'POST' })).json() as Promise<Made>;
}
