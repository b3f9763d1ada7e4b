/** Without those that generate very much, which take longer than all others. */
const config = 'dist/test/config/!(ini|json).test.js';
const sessman = (...names) => names.map((name) => `dist/test/plugins/sessman/${name}.test.js`);
const code = (...names) => names.map((name) => `plugins/sessman/${name}.ts`);

/**
 * Files of the code, and the tests that run against their mutants: those that test them in one process. `skip` leaves out
 * tests by their titles. `inChildren`: the tests run the files as child processes.
 */
export const groups = [
  { name: 'config', mutate: ['config/*.ts'], tests: [config] },
  {
    name: 'sessman/rules',
    mutate: code('sessions', 'merge-patch', 'session-id', 'store', 'service'),
    tests: sessman('stores/embedded', 'plugin', 'visitors', 'http/calls', 'http/bad-input', 'http/check'),
    skip: 'mongodb',
  },
  {
    name: 'sessman/settings',
    mutate: code('settings'),
    tests: ['dist/test/docs/tables.test.js', ...sessman('settings', 'cookie-settings')],
  },
  {
    name: 'sessman/setup',
    mutate: code('index', 'errors', 'stores/index', 'stores/{embedded,mongodb}/settings'),
    tests: [
      'dist/test/docs/tables.test.js',
      ...sessman(
        'settings',
        'setup',
        'stores/clock-check',
        'stores/metrics',
        'stores/embedded-damage',
        'plugin',
        'visitors',
        'http/calls',
        'http/bad-input',
        'http/access',
        'http/check',
        'http/cookie',
        'http/watch',
        'websockets',
        'stores/encryption',
        'stores/mongodb-refusals',
      ),
    ],
    skip: 'mongodb store|one side uses TLS|rotates in three|encrypts again without|sample of a large file',
  },
  {
    name: 'sessman/access',
    mutate: code('http/{access,check,cookie,cookie-check,live,origin,routes,visitor,visitors}'),
    tests: sessman(
      'http/cookie',
      'cookie-settings',
      'http/access',
      'visitors',
      'http/check',
      'http/calls',
      'plugin',
    ),
    skip: 'mongodb',
  },
  {
    name: 'sessman/calls',
    mutate: code('http/{answer,calls,if-match,parameters,read-parameters}'),
    tests: sessman(
      'plugin',
      'http/answer',
      'http/calls',
      'http/bad-input',
      'http/access',
      'http/check',
      'http/cookie',
    ),
    skip: 'mongodb',
  },
  {
    name: 'sessman/openapi',
    mutate: code('http/operations'),
    tests: sessman('plugin'),
  },
  {
    name: 'sessman/watch',
    mutate: code('http/{watch,streams,event-stream}', 'stores/{feed,news,host-news,alarm}'),
    tests: sessman(
      'http/event-stream',
      'http/streams',
      'http/watch',
      'stores/alarm',
      'stores/feed',
      'stores/host-news',
    ),
    skip: 'mongodb',
  },
  {
    name: 'sessman/encryption',
    mutate: code('stores/{encrypted-store,keyring,reencrypt,fenced,leased}'),
    tests: sessman(
      'stores/embedded',
      'stores/encryption',
      'stores/reencryption',
      'stores/leased',
      'stores/wrapped',
    ),
    // These take longer than all others, which have the same rules.
    skip: 'mongodb|EmbeddedStore: |rotates in three|encrypts again without',
  },
  {
    name: 'sessman/embedded',
    mutate: code('stores/embedded/{index,records,record,notes,meta,keys,walk,revision}'),
    tests: sessman(
      'stores/embedded',
      'stores/embedded-upkeep',
      'stores/embedded-file',
      'stores/embedded-damage',
      'stores/metrics',
    ),
    skip: 'with encryption|mongodb|sample of a large file',
  },
  {
    name: 'sessman/commands',
    mutate: code('stores/embedded/{backup,restore,compact,scrub-command,command,manifest}'),
    tests: sessman('stores/embedded-commands', 'stores/embedded-copy'),
    // Those that take long.
    skip: 'a copy of .* (?:is made|has what|is complete|is of one|is read)',
    inChildren: true,
  },
  {
    name: 'sessman/mongodb',
    mutate: code('stores/mongodb/{index,indexes,notes,rewrite,change-streams}'),
    tests: sessman(
      'stores/mongodb',
      'stores/mongodb-wire',
      'stores/mongodb-indexes',
      'stores/mongodb-refusals',
      'stores/frozen-holders',
    ),
    skip: 'embedded|one side uses TLS',
  },
  {
    name: 'sessman/upkeep',
    mutate: code('stores/{observed-store,scrubber,sweeper,pace}', 'stores/embedded/{folder,scrub}'),
    tests: sessman(
      'stores/pace',
      'stores/upkeep',
      'stores/wrapped',
      'stores/embedded-upkeep',
      'stores/metrics',
      'stores/embedded-file',
      'stores/embedded-damage',
      'http/calls',
    ),
    skip: 'mongodb|with encryption|sample of a large file',
  },
  {
    name: 'sessman/client',
    mutate: code('client/*'),
    tests: sessman('client/client', 'client/served', 'client/watch'),
    // Instrumented, it is no small module, nor one of its own.
    skip: 'minified|stand alone',
  },
  {
    name: 'sessman/adapters',
    mutate: code('adapters/*'),
    tests: sessman(
      'adapters/connection',
      'adapters/express-all',
      'adapters/express-store',
      'adapters/express',
      'adapters/koa',
      'adapters/fastify',
      'adapters/own-cases',
      'adapters/rebase',
    ),
    skip: 'mongodb',
  },
];
