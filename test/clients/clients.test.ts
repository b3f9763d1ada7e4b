import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { runProgram } from '../support/process.js';
import { startServer, type TestServer } from '../support/server.js';

const key = 'a-key-of-the-clients-tests';

/** Each client's own tests, run by its language's own runner. */
const clients = [
  {
    folder: 'python',
    /** The system's Python has the system's packages, a Python of one's own those of pip. */
    programs: ['python3', '/usr/bin/python3'],
    isThere: ['-c', 'import httpx'],
    run: ['-m', 'unittest'],
  },
  { folder: 'php', programs: ['php'], isThere: ['--version'], run: ['test.php'] },
  { folder: 'go', programs: ['go', '/usr/local/go/bin/go'], isThere: ['version'], run: ['test', '.'] },
];

describe('the clients in other languages', () => {
  let server: TestServer;

  before(async () => {
    server = await startServer({ ini: `[auth]\napikey=${key}\n` });
  });

  after(() => server.close());

  for (const { folder, programs, isThere, run } of clients) {
    it(`${folder}: passes its own tests`, async function () {
      const program = programs.find((name) => spawnSync(name, isThere).status === 0);
      if (program === undefined) this.skip();
      this.timeout(120_000);
      const cwd = fileURLToPath(new URL(`../../../clients/${folder}`, import.meta.url));
      const env = { ...process.env, SESSMAN_URL: server.url, SESSMAN_KEY: key };
      const { status, stdout, stderr } = await runProgram(program, run, cwd, env);
      expect(status, `${stdout}${stderr}`).to.equal(0);
    });
  }
});
