/** Without those that generate very much, which take longer than all others. */
const config = 'dist/test/config/!(ini|json).test.js';
const sessman = (...names) => names.map((name) => `dist/test/plugins/sessman/${name}.test.js`);

/**
 * Files of the code, and the tests that run against their mutants: those that test them in one process, and without a
 * database or a browser.
 */
export const groups = [
  { name: 'config', mutate: ['config/*.ts'], tests: [config] },
  {
    name: 'sessman/rules',
    mutate: ['sessions', 'merge-patch', 'session-id', 'store', 'errors', 'settings', 'service', 'index'].map(
      (file) => `plugins/sessman/${file}.ts`,
    ),
    tests: sessman(
      'stores/embedded',
      'http/calls',
      'http/bad-input',
      'visitors',
      'settings',
      'cookie-settings',
      'plugin',
    ),
  },
  {
    name: 'sessman/http',
    mutate: ['plugins/sessman/http/!(watch|streams|event-stream).ts'],
    tests: sessman(
      'http/access',
      'http/answer',
      'http/bad-input',
      'http/calls',
      'http/check',
      'http/cookie',
      'cookie-settings',
      'visitors',
    ),
  },
  {
    name: 'sessman/stores',
    mutate: [
      'plugins/sessman/stores/{encrypted-store,keyring,observed-store,leased,scrubber,reencrypt,sweeper}.ts',
      'plugins/sessman/stores/embedded/{index,records,record,notes,meta,folder,keys,walk,scrub,revision}.ts',
    ],
    tests: sessman('stores/embedded', 'stores/encryption', 'stores/embedded-file', 'stores/embedded-damage'),
  },
  {
    name: 'sessman/client',
    mutate: ['plugins/sessman/client/{client,task-queues}.ts'],
    tests: sessman('client/client'),
  },
  {
    name: 'sessman/adapters',
    mutate: ['plugins/sessman/adapters/*.ts'],
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
  },
];
