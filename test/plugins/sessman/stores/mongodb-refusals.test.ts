import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { expect } from 'chai';
import { ConfigError } from '../../../../config/index.js';
import { makeCertificate } from '../../../support/certificates.js';
import type { TestServerOptions } from '../../../support/server.js';
import { type Api, startApi } from '../support/api.js';
import { type Script, type ScriptedMongo, startScriptedMongo } from '../support/scripted-mongo.js';

const credentials = { username: 'ann', password: 'a secret' };

describe('sessman where MongoDB Atlas or another service refuses', () => {
  let mongo: ScriptedMongo | undefined;
  afterEach(() => mongo?.close());

  const start = async (
    refuse: Record<string, string>,
    code = 8000,
    settings: object = {},
    options: TestServerOptions = {},
  ): Promise<Api> => {
    const script: Script = (command) => {
      const errmsg = refuse[command];
      return errmsg === undefined ? undefined : { code, errmsg };
    };
    mongo = await startScriptedMongo(script);
    return startApi({ server_url: mongo.host, ...settings }, options);
  };

  const atStart: [string, Record<string, string>, number, object, string][] = [
    [
      'a wrong password',
      { saslStart: 'bad auth : authentication failed' },
      8000,
      credentials,
      'username and password',
    ],
    [
      'Atlas words of old',
      { saslStart: 'Authentication failed.' },
      8000,
      credentials,
      'username and password',
    ],
    [
      'a user without rights',
      { listIndexes: 'user is not allowed to do action [listIndexes] on [sessman.sessions]' },
      8000,
      {},
      'readWrite',
    ],
    ['no rights', { listIndexes: 'not authorized on sessman to execute command' }, 8000, {}, 'readWrite'],
    [
      'a user that does not exist',
      { saslStart: 'Could not find user "ann" for db "sessman"' },
      11,
      credentials,
      'username and password',
    ],
    [
      'a mechanism that is not enabled',
      { saslStart: 'Received authentication for mechanism SCRAM-SHA-256 which is not enabled' },
      2,
      credentials,
      'authMechanism',
    ],
    [
      'a name that it does not accept',
      { listIndexes: 'Invalid namespace specified: sessman.sessions' },
      73,
      {},
      'Set another database, or a shorter collection',
    ],
    [
      'only commands of the Stable API',
      { listIndexes: 'Provided apiStrict:true, but the command listIndexes is not in API Version 1' },
      323,
      {},
      'requires neither',
    ],
    ['another mechanism', { saslStart: 'mechanism is not enabled' }, 334, credentials, 'authMechanism'],
  ];
  for (const [what, refuse, code, settings, remedy] of atStart) {
    it(`ends the start with what to do: ${what}`, async () => {
      const error = await start(refuse, code, settings).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ConfigError);
      const [problem] = (error as ConfigError).problems;
      expect(problem?.message).to.include(remedy).and.not.to.include(credentials.password);
    });
  }

  it('answers store_full when the quota of the cluster is used up', async () => {
    const api = await start({ insert: 'you are over your space quota, using 513 MB of 512 MB' });
    try {
      const reply = await api.post('/sessman/new', { userid: 'ann' });
      expect(reply.status).to.equal(503);
      expect(reply.body.code).to.equal('store_full');
      expect(reply.headers.get('retry-after')).to.equal('10');
    } finally {
      await api.close();
    }
  });

  it('starts with an encryption_key while MongoDB cannot be reached, and is not ready', async () => {
    const api = await startApi({
      server_url: '127.0.0.1:1/?serverSelectionTimeoutMS=100',
      encryption_key: Buffer.alloc(32, 7).toString('base64'),
    });
    try {
      const ready = await api.get('/readyz');
      expect(ready.status).to.equal(503);
      expect(ready.body.checks['sessman/store']).to.match(/^store_unavailable: /);
      const told = () => api.server.logs.map(({ msg }) => msg);
      while (!told().includes('sessions cannot be encrypted again for now'))
        await new Promise((resolve) => setTimeout(resolve, 10));
    } finally {
      await api.close();
    }
  });

  it('says in readiness that it refuses, and in the log what does not work meanwhile', async () => {
    const refuse: Record<string, string> = {};
    const ears = `
      import { definePlugin } from 'plugin-server';
      export default definePlugin({
        after: ['sessman'],
        setup: ({ plugin }) => void plugin('sessman').on('ended', () => {}),
      });`;
    const api = await start(
      refuse,
      8000,
      {},
      { ini: '[paths]\nplugins=plugins\n', files: { 'plugins/ears.mjs': ears } },
    );
    try {
      refuse.find = 'CMD_LIMIT reached for this cluster';
      const ready = await api.get('/readyz');
      expect(ready.status).to.equal(503);
      expect(ready.body.checks['sessman/store']).to.equal(
        'store_unavailable: MongoDB Atlas refuses the operation; the log says what to do',
      );
      const told = () =>
        api.server.logs.find(({ msg }) => msg === 'changes of sessions cannot be reported for now');
      while (!told()) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(told()).to.include({ level: 'warn', plugin: 'sessman' });
      expect((told()!.err as Error).message).to.include('CMD_LIMIT');
    } finally {
      await api.close();
    }
  });

  const later: [string, string, number, string][] = [
    ['retryable writes', 'Retryable writes are not supported', 301, 'retryWrites=false'],
    ['only the Stable API', 'Provided apiStrict:true, but …', 323, 'Name a server in server_url'],
    ['a name that is not accepted', 'Invalid namespace specified', 73, 'Set another database'],
    ['another command that Atlas does not allow', 'CMD_LIMIT reached for this cluster', 8000, 'CMD_LIMIT'],
  ];
  for (const [what, errmsg, code, told] of later) {
    it(`says in the log what a write was refused for: ${what}`, async () => {
      const api = await start({ insert: errmsg }, code);
      try {
        const reply = await api.post('/sessman/new', { userid: 'ann' });
        expect(reply.body.code).to.equal('store_unavailable');
        expect(reply.headers.get('retry-after')).to.equal('1');
        expect(reply.text).not.to.include(told);
        expect(api.server.logs.map(({ msg }) => msg).join('\n')).to.include(told);
      } finally {
        await api.close();
      }
    });
  }
});

describe('sessman where only one side uses TLS, or the certificate is wrong', () => {
  let server: Server;
  let port: number;
  afterEach(() => server?.close());

  const listen = async (given: Server): Promise<void> => {
    server = given.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const listenTls = async (days?: number) => {
    const { key, cert } = await makeCertificate(days);
    const read = async (text: string) => (text.includes('-----') ? text : readFile(text));
    await listen(
      createTlsServer({ key: await read(key), cert: await read(cert) }, (socket) =>
        socket.on('error', () => {}),
      ).on('tlsClientError', () => {}),
    );
  };
  /** Readiness names the reason, and the log the remedy, once the driver has given up on the server. */
  const expectNamed = async (options: string, summary: RegExp, remedy: string) => {
    const server_url = `127.0.0.1:${port}/?serverSelectionTimeoutMS=800&connectTimeoutMS=500${options}`;
    const api = await startApi({ server_url });
    try {
      let text = '';
      while (!summary.test(text)) {
        ({ text } = await api.get('/readyz'));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(text).not.to.include(String(port));
      expect(api.server.logs.map(({ msg }) => msg).join('\n')).to.include(remedy);
    } finally {
      await api.close();
    }
  };

  const plain: [string, (socket: import('node:net').Socket) => void][] = [
    ['closes the connection', (socket) => socket.once('data', () => socket.end())],
    ['resets the connection', (socket) => socket.once('data', () => socket.resetAndDestroy())],
    [
      'answers in plain text',
      (socket) => socket.once('data', () => socket.end('not the protocol of TLS\r\n')),
    ],
    ['does not answer', (socket) => socket.resume()],
  ];
  for (const [what, serve] of plain) {
    it(`says that the server may not use TLS: it ${what}`, async () => {
      await listen(
        createServer((socket) => {
          socket.on('error', () => {});
          serve(socket);
        }),
      );
      await expectNamed('&tls=true', /TLS to MongoDB fails \(/, 'remove tls=true from server_url');
    });
  }

  it('says that the server may require TLS', async () => {
    await listenTls();
    await expectNamed('', /MongoDB closes connections before it responds/, 'add tls=true');
  });

  it('says that the authority of the certificate is not known', async () => {
    await listenTls();
    await expectNamed('&tls=true', /TLS to MongoDB fails \(DEPTH_ZERO_SELF_SIGNED_CERT\)/, 'tlsCAFile');
  });
});
