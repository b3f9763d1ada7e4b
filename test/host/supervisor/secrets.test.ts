import { rename } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { type Certificate, makeCertificate } from '../../support/certificates.js';
import { type ServerProcess, startHello } from '../../support/process.js';

const plugin = `
import { definePlugin, z } from 'plugin-server';
export default definePlugin({
  config: z.object({ password: z.string() }),
  setup({ config, router }) {
    router.get('/', (ctx) => {
      const isPassed = [...Object.values(process.env), ...process.argv, ...process.execArgv].some((text) =>
        text.includes(config.password));
      ctx.body = { pid: process.pid, password: config.password, isPassed };
    });
  },
});
`;

interface Seen {
  readonly pid: number;
  readonly password: string;
  readonly isPassed: boolean;
}

describe('secrets from files that change while the server runs', () => {
  let server: ServerProcess;
  let certificates: Certificate[];

  before(async () => {
    certificates = await Promise.all([makeCertificate(), makeCertificate()]);
    const [{ key, cert }] = certificates as [Certificate];
    server = await startHello({
      ini: [
        '[network]\nworkers=int:2',
        '[ssl]\nenabled=yes\nkeyfile=key.pem\ncertfile=cert.pem',
        '[auth]\napikey=${FILE:run/apikey}',
        '[plugin_parms]\nhello=json=hello.json\n',
      ].join('\n'),
      files: {
        'plugins/hello.js': plugin,
        'hello.json': '{ "password": "${FILE:run/password}" }',
        'run/apikey': 'the-first-key-of-all\n',
        'run/password': 'first#password\n',
        'key.pem': key,
        'cert.pem': cert,
      },
    });
  });

  after(() => server.close());

  /** The response and the certificate of a connection of its own. */
  async function ask(apikey: string): Promise<{ status: number; seen: Seen; certificate: string }> {
    return new Promise((resolve, reject) => {
      const options = { agent: false, rejectUnauthorized: false, headers: { 'X-Custom-Auth': apikey } };
      request(`${server.url}/hello`, options, async (response) => {
        const certificate = (response.socket as TLSSocket).getPeerX509Certificate()!.toString();
        const text = (await response.toArray()).join('');
        resolve({ status: response.statusCode!, seen: JSON.parse(text), certificate });
      })
        .on('error', reject)
        .end();
    });
  }

  /** As rotations do it: no reader sees half a file. */
  async function replace(path: string, text: string): Promise<void> {
    await server.write(`${path}.new`, text);
    await rename(join(server.folder, `${path}.new`), join(server.folder, path));
  }

  /** Both workers are others than before, each forked again. */
  async function loseBothWorkers(): Promise<void> {
    for (const pid of await pids()) {
      const replaced = server.next('a new worker serves');
      process.kill(pid, 'SIGKILL');
      await replaced;
    }
  }

  async function pids(): Promise<number[]> {
    const found = new Set<number>();
    while (found.size < 2) found.add((await ask(key())).seen.pid);
    return [...found];
  }

  let current = 'the-first-key-of-all';
  const key = () => current;

  async function expectAll(password: string, certificate: string): Promise<void> {
    const seen = new Set<number>();
    while (seen.size < 2) {
      const answer = await ask(current);
      expect(answer).to.deep.include({ status: 200, certificate });
      expect(answer.seen).to.include({ password, isPassed: false });
      seen.add(answer.seen.pid);
    }
  }

  it('are those of its start for a worker that is forked again, whatever the files hold by then', async () => {
    await replace('run/apikey', 'the-second-key-of-all\n');
    await replace('run/password', 'second#password\n');
    await replace('key.pem', certificates[1]!.key);
    await replace('cert.pem', certificates[1]!.cert);
    await loseBothWorkers();
    await expectAll('first#password', certificates[0]!.cert);
    expect((await ask('the-second-key-of-all')).status).to.equal(401);
  });

  it('that are half written fail a reload, all at once and each at its place, and the old ones stay in force', async () => {
    await server.write('run/apikey', '');
    await server.write('run/password', '\n');
    await server.write('cert.pem', certificates[1]!.cert.slice(0, 300));
    const { status, stdout, stderr } = await server.command('reload');
    expect({ status, stdout }).to.deep.equal({ status: 1, stdout: '' });
    const places = stderr.split('\n').filter((line) => /^[\w.-]+:\d+:\d+: /.test(line));
    expect(places).to.deep.equal([
      'plugin-server.ini:11:10: the certfile does not contain a PEM certificate; use a file that begins with -----BEGIN CERTIFICATE-----',
      'plugin-server.ini:13:8: the file "run/apikey" is empty; write the value into it',
      'hello.json:1:15: the file "run/password" is empty; write the value into it',
    ]);
    await expectAll('first#password', certificates[0]!.cert);
  });

  it('are the new ones after a reload that succeeds', async () => {
    await replace('run/apikey', 'the-second-key-of-all\n');
    await replace('run/password', 'second#password\n');
    await replace('cert.pem', certificates[1]!.cert);
    expect((await server.command('reload')).stderr).to.equal('');
    current = 'the-second-key-of-all';
    await expectAll('second#password', certificates[1]!.cert);
    expect((await ask('the-first-key-of-all')).status).to.equal(401);
  });
});
