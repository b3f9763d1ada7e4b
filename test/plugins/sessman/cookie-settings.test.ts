import { rm } from 'node:fs/promises';
import { relative } from 'node:path';
import { expect } from 'chai';
import { ConfigError, type Problem } from '../../../config/index.js';
import { makeFolder, startServer } from '../../support/server.js';

describe('the settings of the cookie', () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
  });
  after(() => rm(folder, { recursive: true }));

  /** Problems and warnings as `check` prints them, in one line each. */
  const judged = async (json: string, ini = '', line = 'json=sessman.json') => {
    const shown = ({ position: { file, line, column }, message, hint = '' }: Problem) =>
      `${relative(folder, file)}:${line}:${column}: ${message}; ${hint}`;
    try {
      const server = await startServer({
        folder,
        ini: `[plugin_parms]\nsessman=${line}\n${ini}`,
        files: { 'sessman.json': json },
      });
      await server.close();
      return { problems: [], warnings: server.host.configuration.warnings.map(shown) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { problems: error.problems.map(shown), warnings: [] };
    }
  };
  const proxy = '[network]\nproxy=bool:on\n';

  for (const [what, json, expected] of <[string, string, RegExp][]>[
    ['a name with a blank', '{ "cookie_name": "a b" }', /^sessman\.json:1:18: .*write letters, digits/],
    ['a name with an equals sign', '{ "cookie_name": "a=b" }', /^sessman\.json:1:18: /],
    ['no name', '{ "cookie_name": "" }', /^sessman\.json:1:18: /],
    ['a prefix in the name', '{ "cookie_name": "__Host-id" }', /^sessman\.json:1:18: .*leave the prefix out/],
    ['a prefix in capitals', '{ "cookie_name": "__SECURE-id" }', /^sessman\.json:1:18: .*prefix/],
    [
      'a path without a slash',
      '{ "cookie_path": "app" }',
      /^sessman\.json:1:18: .*write a path, such as \/app/,
    ],
    ['a path with a semicolon', '{ "cookie_path": "/a;b" }', /^sessman\.json:1:18: /],
    ['a path with a blank', '{ "cookie_path": "/a b" }', /^sessman\.json:1:18: /],
    [
      'a domain with a scheme',
      '{ "cookie_domain": "https://a.b" }',
      /^sessman\.json:1:20: .*such as example\.com/,
    ],
    ['a domain with a port', '{ "cookie_domain": "a.example:80" }', /^sessman\.json:1:20: /],
    ['a domain of one label', '{ "cookie_domain": "com" }', /^sessman\.json:1:20: /],
    ['an address for a domain', '{ "cookie_domain": "127.0.0.1" }', /^sessman\.json:1:20: /],
    ['another SameSite', '{ "cookie_same_site": "Lax" }', /^sessman\.json:1:23: .*"lax", "strict" or "none"/],
    ['another right to data', '{ "cookie_data": true }', /^sessman\.json:1:18: /],
    [
      'a page for an origin',
      '{ "cookie_origins": ["https://a.b/c"] }',
      /^sessman\.json:1:22: .*without a path/,
    ],
    ['another scheme', '{ "cookie_origins": ["ftp://a.b"] }', /^sessman\.json:1:22: .*write an origin, such/],
    [
      'a longer scheme',
      '{ "cookie_origins": ["httpss://a.b"] }',
      /^sessman\.json:1:22: .*write an origin, such/,
    ],
    [
      'a scheme before it',
      '{ "cookie_origins": ["xhttps://a.b"] }',
      /^sessman\.json:1:22: .*write an origin, such/,
    ],
    [
      'SameSite=None that is not Secure',
      '{ "cookie": true,\n  "cookie_same_site": "none" }',
      /^sessman\.json:2:23: .*only if it is Secure; set cookie_secure to true/,
    ],
    [
      'a partition that is not Secure',
      '{ "cookie": true,\n  "cookie_partitioned": true }',
      /^sessman\.json:2:25: .*only if it is Secure/,
    ],
  ]) {
    it(`${what}: says where and what to write`, async () => {
      const { problems } = await judged(json);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.match(expected);
    });
  }

  it('takes every name, domain, path and origin that browsers take, and no other', async () => {
    const label = 'a'.repeat(63);
    const good = {
      cookie_name: ['a', "!#$%&'*+.^_`|~-", 'x'.repeat(100), 'host-__Host-'],
      cookie_domain: [
        'example.com',
        'A1.b-2.example.org',
        `${label}.${label}.${label}.${'b'.repeat(61)}`,
        '1.2.3.x4',
      ],
      cookie_path: ['/', '/app', '/a!/~:<b'],
      cookie_origins: [['https://app.example.com'], ['http://a.b:8080', 'https://a.b/'], ['https://[::1]']],
      cookie_same_site: ['lax', 'strict'],
      cookie_data: ['none', 'read', 'write'],
    };
    const bad = {
      cookie_name: ['x'.repeat(101), 'a b', 'a;', 'ä'],
      cookie_domain: [
        'a..b',
        '.example.com',
        'example.com.',
        '-a.example.com',
        'a-.example.com',
        'example.-a',
        'example.a-',
        'a_b.example.com',
        `${label}a.example.com`,
        `example.${label}a`,
        `${label}.${label}.${label}.${'b'.repeat(62)}`,
        '1.2.3.4',
        'a.b.65535',
      ],
      cookie_path: ['', 'app/', '/a b', '/a;', '/ä', 'x/'],
      cookie_origins: [
        ['https://a.b?'],
        ['https://a.b/#c'],
        ['https://u@a.b'],
        ['https://u:p@a.b'],
        ['https://a.b/?c'],
        ['httpss://a.b'],
        ['xhttps://a.b'],
        ['app'],
      ],
    };
    for (const [key, values] of Object.entries(good))
      for (const value of values)
        expect((await judged(JSON.stringify({ [key]: value }))).problems, `${key} ${value}`).to.deep.equal(
          [],
        );
    for (const [key, values] of Object.entries(bad))
      for (const value of values)
        expect((await judged(JSON.stringify({ [key]: value }))).problems, `${key} ${value}`).not.to.be.empty;
  });

  it('cookie_secure=false contradicts SameSite=None behind a proxy', async () => {
    const settings = { cookie: true, cookie_same_site: 'none', cookie_partitioned: true };
    const { problems } = await judged(JSON.stringify({ ...settings, cookie_secure: false }), proxy);
    expect(problems).to.have.length(2);
    expect(problems.join()).to.include('remove cookie_secure=false');
    expect(await judged(JSON.stringify(settings), proxy)).to.deep.equal({ problems: [], warnings: [] });
    expect((await judged(JSON.stringify({ ...settings, cookie_secure: true }))).problems).to.deep.equal([]);
  });

  it('auth_type=none is said to open nothing', async () => {
    const { warnings } = await judged('{ "cookie": true }', '', 'auth_type=none&json=sessman.json');
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(
      /^plugin-server\.ini:2:19: auth_type=none opens nothing in cookie mode.*; remove auth_type=none; set apikey/,
    );
    expect((await judged('{}', '', 'auth_type=none&json=sessman.json')).warnings).to.deep.equal([]);
  });

  it('an origin of another site is said to need SameSite=None', async () => {
    const json = (more: object) =>
      JSON.stringify({ cookie: true, cookie_origins: ['https://app.example.com'], ...more });
    const hosts = (names: string) => `[network]\nhosts=list:${names}\n`;
    for (const [more, ini] of <[object, string][]>[
      [{}, ''],
      [{}, hosts('api.example.org')],
      [{ cookie_domain: 'example.org' }, ''],
    ]) {
      const { warnings } = await judged(json(more), ini);
      expect(warnings, ini).to.have.length(1);
      expect(warnings[0]).to.match(/^sessman\.json:1:\d+: .*of the same site; .*cookie_same_site to "none"$/);
    }
    for (const [more, ini] of <[object, string][]>[
      [{}, hosts('api.example.com')],
      [{}, hosts('*.example.com')],
      [{ cookie_domain: 'example.com' }, ''],
      [{ cookie_same_site: 'none', cookie_secure: true }, ''],
    ]) {
      expect((await judged(json(more), ini)).warnings, ini).to.deep.equal([]);
    }
  });
});
