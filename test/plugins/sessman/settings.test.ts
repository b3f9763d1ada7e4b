import { rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
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
    [
      'a password for nothing',
      '{ "password": "hush" }',
      /^sessman\.json:1:15: .*requires server_url; write the server/,
    ],
    [
      'a user for nothing',
      '{ "username": "u" }',
      /^sessman\.json:1:15: .*applies to MongoDB, which requires server_url/,
    ],
    ['no folder', '{ "path": "" }', /^sessman\.json:1:11: /],
    ['no server', '{ "server_url": "" }', /^sessman\.json:1:17: /],
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

  it('take collection names as MongoDB does', async () => {
    for (const collection of ['s', '_', 'a.b-c_d.e', `s${'x'.repeat(100)}`, 'Systems.users', 'my.system.x'])
      expect(await problemsOf(JSON.stringify({ collection })), collection).to.deep.equal([]);
    for (const collection of [
      '',
      '1s',
      '-s',
      '.s',
      's$',
      's ',
      'ä',
      `s${'x'.repeat(101)}`,
      'a..b',
      'system.',
      's.',
    ])
      expect((await problemsOf(JSON.stringify({ collection }))).join(), collection).to.include(
        'write a letter, then letters, digits, _ - or single dots between them',
      );
  });

  it('never show a password or a key that is of the wrong type', async () => {
    for (const settings of [
      { server_url: 'db', username: 'u', password: 471_147 },
      { encryption_key: 471_147 },
    ]) {
      const problems = await problemsOf(JSON.stringify(settings));
      expect(problems).to.have.length(1);
      expect(problems[0]).not.to.include('471147');
    }
  });

  it('backend decides, whatever else is set', async () => {
    const settings = { backend: 'embedded', server_url: '127.0.0.1:1', path: 'chosen' };
    const server = await startServer({
      folder,
      ini: '[plugin_parms]\nsessman=json=sessman.json\n',
      files: { 'sessman.json': JSON.stringify(settings) },
    });
    try {
      expect((await server.fetch('/readyz')).status).to.equal(200);
      expect(server.logs.find(({ store }) => store === 'embedded')).to.include({
        folder: join(folder, 'chosen'),
        msg: 'sessions are kept in the embedded store',
      });
    } finally {
      await server.close();
    }
  });

  const largest = {
    session_ttl: 3_153_600_000,
    session_max_age: 3_153_600_000,
    max_data: 15_000_000,
    max_sessions_per_user: 10_000,
    removal_delay: 86_400,
    max_clock_skew: 86_400,
  };
  const smallest = {
    session_ttl: 1,
    session_max_age: 0,
    max_data: 2,
    max_sessions_per_user: 0,
    removal_delay: 0,
    max_clock_skew: 0,
  };

  it('may have their bounds, and nothing beyond', async () => {
    const { max_clock_skew: _, ...withoutSkew } = largest;
    for (const settings of [smallest, { ...withoutSkew, record: ['ip', 'user_agent'], backend: 'embedded' }])
      expect(await problemsOf(JSON.stringify(settings))).to.deep.equal([]);
    for (const [bounds, by, words] of [
      [largest, 1, 'at most'],
      [smallest, -1, 'at least'],
    ] as const) {
      const beyond = Object.fromEntries(Object.entries(bounds).map(([name, bound]) => [name, bound + by]));
      const problems = await problemsOf(JSON.stringify(beyond));
      for (const [name, bound] of Object.entries(bounds))
        expect(problems.join('\n')).to.match(new RegExp(`"${name}".* ${words} ${bound}\\b`));
    }
  });

  it('say what is wrong with a key, and with one that is listed twice', async () => {
    const key = Buffer.alloc(32, 7).toString('base64');
    for (const good of [key, [key], ['plain'], [Buffer.alloc(32).toString('base64'), key, 'plain']])
      expect(await problemsOf(JSON.stringify({ encryption_key: good, path: 'keyed' }))).to.deep.equal([]);
    const unpadded = Buffer.from(key.slice(0, -1)).toString();
    for (const bad of [
      `${key}=`,
      unpadded,
      `x${key}`,
      key.replace(/.$/, '-'),
      'Plain',
      `${key.slice(0, 42)}!=`,
    ])
      expect((await problemsOf(JSON.stringify({ encryption_key: bad }))).join()).to.match(
        /write 32 random bytes in base64, 44 characters, as `openssl rand -base64 32` prints them, or the word plain/,
      );
    expect((await problemsOf(JSON.stringify({ encryption_key: [key, key] }))).join()).to.include(
      'a key is listed twice; list each once',
    );
    expect(await problemsOf(JSON.stringify({ encryption_key: [] }))).to.have.length(1);
  });

  it('say so where no key opens the sessions, and take one that does among others', async () => {
    const [one, other] = [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64'));
    const ini = '[plugin_parms]\nsessman=json=sessman.json\n';
    const json = (encryption_key?: unknown) => JSON.stringify({ path: 'sealed', encryption_key });
    const server = await startServer({ folder, ini, files: { 'sessman.json': json(one) } });
    await make(server);
    await server.close();
    expect((await problemsOf(json(other))).join()).to.match(
      /^sessman\.json:1:(?!1:)\d+: .*no key of encryption_key opens the sessions of the store; list the key/,
    );
    expect(await problemsOf(json(one))).to.deep.equal([]);
    const raised = (at: TestServer) => at.logText().includes('requires this version of plugin-server');
    expect(raised(server)).to.equal(false);
    const again = await startServer({ folder, ini, files: { 'sessman.json': json([other, one]) } });
    await again.close();
    expect(raised(again)).to.equal(true);
  });

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
      const ready = await server.fetch('/readyz');
      expect(ready.status).to.equal(503);
      expect(((await ready.json()) as { checks: object }).checks).to.include({
        'sessman/store': 'store_unavailable: The session store cannot be reached. Try again shortly.',
      });
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
