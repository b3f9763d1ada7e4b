import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { runProgram, ServerProcess } from '../../support/process.js';
import { startServer, type TestServer } from '../../support/server.js';

const talker = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, log }) {
    router.get('/', (ctx) => {
      for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal']) log[level]({ worker: process.pid }, 'talk');
      ctx.body = {};
    });
    router.get('/long', (ctx) => {
      const wide = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => ['member' + i, 'x'.repeat(20)]));
      log.info({ text: 'é'.repeat(100_000), list: Array(50_000).fill(1), fits: 7 }, 'long');
      log.warn({ ...wide, request_id: ctx.requestId }, 'wide');
      log.error({ err: new Error('\\u0001'.repeat(100_000)) }, 'x'.repeat(20_000));
      log.info({ text: 'x'.repeat(16_000) }, 'fits');
      ctx.body = {};
    });
  },
});`;

describe('a line of the log', () => {
  describe('under systemd', () => {
    /** systemd sets JOURNAL_STREAM to what the standard output is; here it is a pipe. */
    const through = (stream: string) => ({
      file: 'sh',
      args: ['-c', `JOURNAL_STREAM=${stream} exec "$@"`, 'sh'],
    });
    const stdout = '$(stat -Lc %d:%i /proc/$$/fd/1)';
    const start = (ini: string, stream: string) =>
      ServerProcess.start({
        ini: `[main]\nsafe=list:talker\n[network]\nworkers=int:2\n[log]\nlevel=trace\n${ini}`,
        files: { 'plugins/talker.mjs': talker },
        args: ['--safe'],
        through: through(stream),
        raw: ini.includes('file='),
      });
    let server: ServerProcess;
    afterEach(() => server.close());

    it('begins with its priority, whether it is of the supervisor or of a worker', async () => {
      server = await start('', stdout);
      while (new Set(server.logs.filter(({ msg }) => msg === 'talk').map(({ worker }) => worker)).size < 2)
        await Promise.all(Array.from({ length: 8 }, () => server.json('/talker')));
      await server.command('stop').catch(() => {});
      server.signal('SIGTERM');
      await server.until(({ msg }) => msg === 'stopped');
      const priorities = { trace: 7, debug: 7, info: 6, warn: 4, error: 3, fatal: 2 };
      const levels = new Set<string>();
      for (const line of server.lines) {
        const { level } = JSON.parse(line.slice(3)) as { level: keyof typeof priorities };
        expect(line.slice(0, 3)).to.equal(`<${priorities[level]}>`);
        levels.add(level);
      }
      expect(levels).to.have.all.keys(...Object.keys(priorities));
      expect(server.lines.some((line) => line.includes('"msg":"request"'))).to.equal(true);
    });

    it('has no priority in a file, nor where the journal has another stream', async () => {
      server = await start('file=server.log\n', stdout);
      const file = join(server.folder, 'server.log');
      const text = () => {
        try {
          return readFileSync(file, 'utf8');
        } catch {
          return '';
        }
      };
      while (!text().includes('serving on')) await new Promise((resolve) => setTimeout(resolve, 20));
      for (const line of text().trim().split('\n')) expect(JSON.parse(line)).to.have.property('msg');
      await server.close();
      server = await start('', '8:123456');
      for (const line of server.lines) expect(JSON.parse(line)).to.have.property('msg');
    });
  });

  describe('of more than 16 KiB', () => {
    let server: TestServer;
    before(async () => {
      server = await startServer({ files: { 'plugins/talker.mjs': talker } });
      await server.fetch('/talker/long');
    });
    after(() => server.close());

    it('is cut, stays JSON and says how long it was', () => {
      for (const line of server.logText().split('\n')) expect(Buffer.byteLength(line)).to.be.below(16 * 1024);
      const line = (msg: string) => server.logs.find((each) => each.msg.startsWith(msg))!;
      expect(line('long')).to.include({ level: 'info', plugin: 'talker', fits: 7 });
      expect(line('long').cut_from).to.be.above(200_000);
      expect(line('long').text).to.match(/^é+…$/);
      expect(line('wide')).to.include({ level: 'warn', plugin: 'talker' });
      expect(line('wide')).to.have.property('request_id');
      expect(line('wide').cut_from).to.be.above(60_000);
      expect(line('xxx')).to.include({ level: 'error' });
    });

    it('is left as it is when it fits', () => {
      const line = server.logs.find(({ msg }) => msg === 'fits')!;
      expect(line.text).to.equal('x'.repeat(16_000));
      expect(line).not.to.have.property('cut_from');
    });
  });

  describe('for people', () => {
    const ini = '[main]\nsafe=list:talker\n[log]\nformat=pretty\n';
    const shown = async (env: NodeJS.ProcessEnv, terminal: boolean) => {
      const program = await ServerProcess.start({
        ini,
        files: { 'plugins/talker.mjs': talker },
        args: ['--safe'],
        env,
        raw: true,
        ...(terminal && {
          through: { file: 'sh', args: ['-c', 'exec script -qec "$*" /dev/null', 'sh'] },
        }),
      });
      try {
        const at = () => /serving on (http:\/\/[\d.:]+)/.exec(program.lines.join('\n'))?.[1];
        const awaitLines = async (fits: () => boolean) => {
          while (!fits()) await new Promise((resolve) => setTimeout(resolve, 20));
        };
        await awaitLines(() => at() !== undefined);
        await fetch(`${at()}/talker`);
        await awaitLines(() => program.lines.some((line) => line.includes('GET ')));
        return program.lines.map((line) => line.trimEnd());
      } finally {
        await program.close();
      }
    };
    const colour = '\u001B[';

    it("is aligned, the supervisor's like the workers', and without colour where there is no terminal", async () => {
      const lines = await shown({}, false);
      const start = /^\[\d\d:\d\d:\d\d\.\d{3}\] (?: INFO| WARN|ERROR|FATAL): \S/;
      for (const line of lines) expect(line).to.match(start);
      const [request] = lines.filter((line) => line.includes('GET '));
      expect(request).to.match(
        /: GET {5}200 +\d+\.\d\d ms \/talker \{"request_id":"[^"]+","plugin":"talker"\}$/,
      );
      expect(lines.join('\n')).to.include('WARN: talk').and.not.to.include(colour);
    });

    it('has colours on a terminal, unless NO_COLOR says no', async function () {
      const { status } = await runProgram('script', ['-qec', 'true', '/dev/null'], '/').catch(() => ({
        status: 1,
      }));
      if (status !== 0) this.skip();
      const [coloured, plain] = await Promise.all([
        shown({ NO_COLOR: '' }, true),
        shown({ NO_COLOR: '1' }, true),
      ]);
      expect(coloured.find((line) => line.includes('serving on'))).to.include(colour);
      expect(coloured.find((line) => line.includes('"worker"'))).to.include(colour);
      expect(plain.join('\n')).not.to.include(colour);
    });
  });
});
