import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import {
  hello,
  program,
  runCommand,
  runProgram,
  type ServerProcess,
  startHello,
} from '../../support/process.js';
import { sendRaw } from '../../support/raw.js';
import { makeFolder, startServer, writeFiles } from '../../support/server.js';

const execFileAsync = promisify(execFile);

describe('the command line', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const run = (...args: string[]) => runCommand(folder, ...args);

  it('prints its version and its help, for each command too', async () => {
    const { version } = await import('../../../host/package-layout.js');
    for (const args of [['--version'], ['-V'], ['check', '--version']]) {
      expect(await run(...args)).to.deep.equal({ status: 0, stdout: `${version}\n`, stderr: '' });
    }
    for (const args of [['--help'], ['-h'], ['start', '--help'], ['new', '-h']]) {
      const { status, stdout } = await run(...args);
      expect(status).to.equal(0);
      expect(stdout).to.match(/^Usage: plugin-server /);
    }
    const { stdout } = await run('--help');
    for (const name of ['start', 'check', 'new', 'routes', 'reload', 'stop'])
      expect(stdout).to.contain(`\n  ${name} `);
  });

  it('answers wrong usage with status 2 and the nearest name', async () => {
    for (const [args, says] of [
      [['strat'], 'Did you mean start?'],
      [['chekc', '-i', 'x.ini'], 'Did you mean check?'],
      [['start', '--wacth'], 'Did you mean --watch?'],
      [['check', 'too', 'many'], 'too many arguments'],
      [['new'], "missing required argument 'name'"],
      [['-v', 'loud'], 'Allowed choices are trace, debug, info, warn, error, fatal, silent.'],
    ] as const) {
      const { status, stdout, stderr } = await run(...args);
      expect({ status, stdout }, args.join(' ')).to.deep.equal({ status: 2, stdout: '' });
      expect(stderr).to.contain(says);
    }
  });

  it('takes a command behind its options, and what an option names for no command', async () => {
    await writeFiles(folder, { 'site.ini': '[nework]\n', start: '' });
    for (const args of [
      ['--ini-file', 'site.ini', 'check'],
      ['-isite.ini', 'check'],
    ]) {
      const { status, stderr } = await run(...args);
      expect([status, stderr]).to.deep.equal([1, (await run('check', '-i', 'site.ini')).stderr]);
    }
    expect((await run('-i', 'start', 'check')).stdout).to.contain('configuration ok');
  });

  for (const word of [
    'serve',
    'chek',
    'help',
    'startt',
    'constructor',
    'Start',
    'run',
    'status',
    'restart',
    '-',
  ]) {
    it(`refuses ${word} with --help behind it as it does without`, async () => {
      const { status, stdout, stderr } = await run(word, '--help');
      expect(status).to.equal(2);
      expect(stdout).to.equal('');
      expect(stderr).to.contain(`unknown command '${word}'`);
    });
  }

  for (const name of ['start', 'check', 'routes', 'new', 'backup', 'reload', 'stop', 'completion']) {
    it(`lists each option of ${name} once`, async () => {
      const { stdout } = await run(name, '--help');
      const options = [...stdout.matchAll(/^ +-.*?(--[\w-]+)/gm)].map(([, option]) => option);
      expect(options).to.include.members(['--help', '--version']);
      expect(new Set(options).size).to.equal(options.length);
    });
  }

  it('completes commands and options in a shell', async () => {
    const { stdout: script } = await run('completion', 'bash');
    const complete = async (...words: string[]) => {
      const typed = `COMP_WORDS=(plugin-server ${words.join(' ')}); COMP_CWORD=${words.length}`;
      const { stdout } = await execFileAsync('bash', [
        '-c',
        `${script}\n${typed}; _plugin_server; echo "\${COMPREPLY[@]}"`,
      ]);
      return stdout.trim().split(' ');
    };
    expect(await complete('re')).to.deep.equal(['reload']);
    expect(await complete('start', '--')).to.include.members(['--ini-file', '--watch', '--safe']);
    expect((await run('completion', 'zsh')).stdout).to.contain('bashcompinit');
    expect((await run('completion', 'fish')).stdout).to.contain('complete -c plugin-server');
    expect(await run('completion', 'tcsh')).to.include({ status: 2 });
  });

  describe('check', () => {
    it('says how many plugins a right configuration has', async () => {
      await writeFiles(folder, {
        'plugins/hello.js': hello(),
        'plugin-server.ini': '[network]\nport=int:0\n',
      });
      const { status, stdout, stderr } = await run('check');
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
      expect(stdout).to.match(/^configuration ok: \d+ plugins; setup was not run\n$/);
    });

    it('prints every problem, of plugin parameters and files too, and serves nothing', async () => {
      await writeFiles(folder, {
        'plugins/hello.js': hello(),
        'hello.json': '{"greeting": 7}',
        'plugin-server.ini':
          '[network]\nport=int:99999\n[plugin_parms]\nhello=json=hello.json\nhallo=greeting=x\n',
      });
      const { status, stdout, stderr } = await run('check');
      expect({ status, stdout }).to.deep.equal({ status: 1, stdout: '' });
      for (const place of ['plugin-server.ini:2:6: ', 'plugin-server.ini:5:1: ', 'hello.json:1:14: ']) {
        expect(stderr).to.contain(place);
      }
      expect(stderr).to.match(/\nplugin-server: the configuration is not valid: 3 problems\n$/);
    });

    it('prints warnings, counts them, and succeeds', async () => {
      const ini =
        '[network]\nport=int:0\nbindto=0.0.0.0\nproxy=yes\n[auth]\napikey=list:x 0123456789abcdef\n';
      await writeFiles(folder, { 'plugin-server.ini': ini });
      const { status, stdout, stderr } = await run('check');
      expect(status, stderr).to.equal(0);
      expect(stdout).to.match(/^configuration ok: \d+ plugins, 2 warnings; setup was not run\n$/);
      expect(stderr).to.match(/^plugin-server\.ini:4:7: warning: anyone who reaches 0\.0\.0\.0 /m);
      expect(stderr).to.match(/^plugin-server\.ini:6:13: warning: this API key has 1 character /m);
      expect(stderr).not.to.contain('0123456789abcdef');
    });

    it('warns of a limit on memory where the system has none', async () => {
      const { href: elsewhere } = pathToFileURL(join(folder, 'elsewhere.mjs'));
      await writeFiles(folder, {
        'plugin-server.ini': '[limits]\nworker_memory=int:300000000\n',
        'elsewhere.mjs': "Object.defineProperty(process, 'platform', { value: 'darwin' });",
      });
      const args = ['--import', elsewhere, program, 'check'];
      const { status, stdout, stderr } = await runProgram(process.execPath, args, folder);
      expect(status, stderr).to.equal(0);
      expect(stdout).to.include(', 1 warning;');
      expect(stderr).to.match(
        /^plugin-server\.ini:2:15: warning: worker_memory has an effect on Linux only; /m,
      );
    });

    it('reports one mistake in a section once, whatever it is, and still knows the plugins', async () => {
      await writeFiles(folder, { 'extensions/hello.js': hello() });
      const mistakes: readonly (readonly [lines: string, place: string])[] = [
        ['[network]\nprot=1', ':5:1: '],
        ['[network]\nport=int:99999', ':5:6: '],
        ['[network]\nbindto=${nowhere}', ':5:8: '],
        ['[limits]\nbody=much', ':5:6: '],
        ['[log]\nlevel=loud', ':5:7: '],
        ['[ssl]\nenabled=maybe', ':5:9: '],
        ['[ssl]\nenabled=on\nkeyfile=${nowhere}\ncertfile=x', ':6:9: '],
        ['[auth]\napikey=a,b', ':5:8: '],
        ['[cors]\nenabled=on\norigin_url=null', ':6:12: '],
        ['[cors]\nenabled=on', ':4:2: '],
        ['[paths]\ndat=x', ':5:1: '],
        ['[main]\n__proto__=x', ':5:1: '],
        ['[__proto__]\nx=1', ':4:2: '],
        ['[cors]\nenabled=on\norigin_url=https://a.example/x', ':6:12: '],
        ['[cors]\nenabled=on\norigin_url=list:* https://a.example', ':6:12: '],
        ['[cors]\norigin_ur=https://a.example', ':5:1: '],
        ['[network]\nproxy=10.0.0.0/99', ':5:7: '],
        ['[network]\nhosts=http://a.example', ':5:7: '],
        ['[network]\nworkers=int:0', ':5:9: '],
        ['[limits]\ndepth=int:-1', ':5:7: '],
        ['[limits]\nrequest_timeout=int:1.5', ':5:21: '],
        ['[log]\nformat=xml', ':5:8: '],
        ['[auth]\napikey=list:', ':5:8: '],
        ['[main]\nconstructor=${toString}', ':5:13: '],
      ];
      for (const [lines, place] of mistakes) {
        const ini = `[paths]\nplugins=extensions\ndata=d\n${lines}\n[plugin_parms]\nhello=greeting=x\n`;
        await writeFiles(folder, { 'plugin-server.ini': ini });
        const { stderr } = await run('check');
        expect(stderr, lines).to.contain(`plugin-server.ini${place}`);
        expect(stderr, lines).to.match(/\nplugin-server: the configuration is not valid: 1 problem\n$/);
      }
    });

    it('says of a plugins folder that is wrong nothing more than that', async () => {
      for (const plugins of ['nowhere', '${nowhere}', 'list:a b']) {
        const ini = `[paths]\nplugins=${plugins}\n[plugin_parms]\nhello=greeting=x\nother=a=1\n`;
        await writeFiles(folder, { 'plugin-server.ini': ini });
        expect((await run('check')).stderr, plugins).to.match(/: 1 problem\n$/);
      }
    });

    it('reports a file that was named and is not there', async () => {
      const { status, stderr } = await run('check', '-i', 'other.ini');
      expect(status).to.equal(1);
      expect(stderr).to.contain('other.ini:1:1: the file does not exist');
    });

    it('takes every default where the file was not named and is not there', async () => {
      const { status, stdout } = await run('check');
      expect(status).to.equal(0);
      expect(stdout).to.contain('configuration ok');
    });
  });

  describe('routes', () => {
    it('lists methods, paths, plugins and keys in columns', async () => {
      await writeFiles(folder, {
        'plugins/hello.js': hello(),
        'plugins/other.js': hello().replace('hello_total', 'other_total'),
        'plugins/open.js': hello().replace('hello_total', 'open_total'),
        'plugin-server.ini':
          '[auth]\napikey=k\n[plugin_parms]\nother=route_path=api/other&auth_type=plugin&apikey=o\nopen=auth=none\n',
      });
      const { status, stdout, stderr } = await run('routes');
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
      const [heading, ...rows] = stdout.trimEnd().split('\n');
      expect(heading).to.match(/^METHOD +PATH +PLUGIN +KEY$/);
      const column = heading!.indexOf('PATH');
      for (const row of rows) expect(row[column]).to.equal('/');
      const cells = rows.map((row) => row.split(/ {2,}/));
      expect(cells).to.deep.include(['GET', '/hello', 'hello', 'global']);
      expect(cells).to.deep.include(['POST', '/api/other/echo', 'other', 'plugin']);
      expect(cells).to.deep.include(['GET', '/open', 'open', 'none']);
      expect(cells).to.deep.include(['GET', '/metrics', 'plugin-server', 'global']);
    });

    it('shows what middleware of use() serves as *, which /openapi.json leaves out', async () => {
      await writeFiles(folder, {
        'plugins/site.mjs': `
          import { definePlugin } from 'plugin-server';
          export default definePlugin({ setup({ use, router }) {
            use((ctx, next) => next());
            use((ctx, next) => next());
            router.get('/', () => {});
          } });
        `,
        'plugin-server.ini': '[main]\nsafe=list:site\n[plugin_parms]\nsite=auth_type=plugin&apikey=k\n',
      });
      const { stdout } = await run('routes');
      const rows = stdout.split('\n').map((row) => row.split(/ {2,}/));
      expect(rows.filter(([, , name]) => name === 'site')).to.deep.equal([
        ['GET', '/site', 'site', 'plugin'],
        ['*', '/site/*', 'site', 'plugin'],
      ]);
      const host = await startServer({ folder });
      const { paths } = (await (await host.fetch('/openapi.json')).json()) as { paths: object };
      await host.close();
      expect(Object.keys(paths).filter((path) => path.startsWith('/site'))).to.deep.equal(['/site']);
    });

    it('shows a route of all methods as any', async () => {
      await writeFiles(folder, {
        'plugins/proxy.mjs': `
          import { definePlugin } from 'plugin-server';
          export default definePlugin({ setup({ router }) { router.all('/{*path}', () => {}); } });
        `,
        'plugin-server.ini': '[main]\nsafe=list:proxy\n',
      });
      const { stdout } = await run('routes');
      expect(stdout).to.match(/^any +\/proxy\/\{\*path\} +proxy +none$/m);
    });

    it('shows what a plugin with its own keys asks for, route by route', async () => {
      await writeFiles(folder, {
        'plugins/own.mjs': `
          import { asksKey, definePlugin } from 'plugin-server';
          export default definePlugin({
            auth: 'own',
            setup({ router, server }) {
              const answer = (ctx) => { ctx.body = {}; };
              router.get('/before', answer);
              router.use('/closed', server.requireGlobalKey);
              router.use('/member', asksKey('session', (ctx, next) => next()));
              router.get('/', answer);
              router.get('/closedness', answer);
              router.head('/only', answer);
              router.post('/closed', answer);
              router.post('/closed/deep/:name', answer);
              router.get('/member/page', answer);
              router.get('/alone', asksKey('ticket', (ctx, next) => next()), answer);
            },
          });`,
        'plugin-server.ini': '[auth]\napikey=k\n',
      });
      const keysOf = ({ stdout }: { stdout: string }, plugin: string) =>
        Object.fromEntries(
          stdout
            .trimEnd()
            .split('\n')
            .map((row) => row.split(/ {2,}/))
            .filter((cells) => cells[2] === plugin)
            .map(([, path, , key]) => [path, key]),
        );
      const own = {
        '/own': 'none',
        '/own/before': 'none',
        '/own/closedness': 'none',
        '/own/only': 'none',
        '/own/closed': 'global',
        '/own/closed/deep/:name': 'global',
        '/own/member/page': 'session',
        '/own/alone': 'ticket',
      };
      const shown = await run('routes');
      expect(keysOf(shown, 'own')).to.deep.equal(own);
      expect(keysOf(shown, 'admin')).to.deep.include({
        '/admin': 'none',
        '/admin/api/stream': 'global',
        '/admin/api/reload': 'global',
        '/admin/api/sessions/end_all': 'global',
      });
      await writeFiles(folder, { 'plugin-server.ini': '' });
      const open = keysOf(await run('routes'), 'own');
      expect(open).to.deep.include({
        '/own/closed': 'global (none is set)',
        '/own/member/page': 'session',
        '/own': 'none',
      });
    });
  });

  describe('start', () => {
    it('is what options alone mean', async () => {
      await writeFiles(folder, { 'a.ini': '[netwrok]\nport=int:0\n' });
      const { status, stderr } = await run('-i', 'a.ini');
      expect(status).to.equal(1);
      expect(stderr).to.contain('a.ini:1:2: unknown section [netwrok]; did you mean [network]?');
      expect(stderr).to.match(/\nplugin-server: not started: 1 problem\n$/);
    });

    it('prints no warning of the engine, whatever is asked of the server', async () => {
      const server = await startHello();
      const { port } = new URL(server.url);
      for (const target of [`http://127.0.0.1:${port}/hello?a=1#b`, '/hello#b', '/hello?a={b}', '*']) {
        await sendRaw(Number(port), `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      }
      server.signal('SIGTERM');
      await server.exited;
      expect(server.stderr).to.equal('');
      await server.close();
    });

    it('says which port is taken and what to do', async () => {
      const occupant = createServer().listen(0, '127.0.0.1');
      await once(occupant, 'listening');
      const { port } = occupant.address() as { port: number };
      await writeFiles(folder, { 'plugin-server.ini': `[network]\nport=int:${port}\n` });
      const { status, stderr } = await run('start', '--safe');
      expect(status).to.equal(1);
      expect(stderr).to.equal(
        `plugin-server.ini:2:6: port ${port} on 127.0.0.1 is in use by another program; stop that program, or set another "port" in [network]\n  |\n2 | port=int:${port}\n  |      ${'^'.repeat(4 + String(port).length)}\n\nplugin-server: not started: 1 problem\n`,
      );
      occupant.close();
      await once(occupant, 'close');
    });

    it('says that the module of --import does not exist', async () => {
      const { status, stderr } = await run('start', '--import', './otel.mjs');
      expect(status).to.equal(1);
      expect(stderr).to.equal(
        'plugin-server: not started: The module of --import does not exist: ./otel.mjs\n',
      );
    });

    it('says that an address is not one of this machine, or cannot be resolved', async () => {
      for (const [bindTo, says] of [
        ['192.0.2.1', '192.0.2.1 is not an address of this machine'],
        ['no.such.name.invalid', 'plugin-server.ini:2:8: the name no.such.name.invalid cannot be resolved'],
      ]) {
        await writeFiles(folder, { 'plugin-server.ini': `[network]\nbindto=${bindTo}\nport=int:0\n` });
        const { status, stderr } = await run('start', '--safe');
        expect(status).to.equal(1);
        expect(stderr).to.contain(says);
      }
    });

    it('refuses a pid file that a running server has, and one that cannot be written', async () => {
      const server: ServerProcess = await startHello();
      try {
        // Whoever may write to it may stop the server.
        expect(statSync(join(server.folder, 'run/server.pid.sock')).mode & 0o777).to.equal(0o600);
        const { status, stderr } = await server.command('start', '--safe');
        expect(status).to.equal(1);
        expect(stderr).to.match(
          /A server with the pid file .*run\/server\.pid is already running \(pid \d+\)/,
        );
      } finally {
        await server.close();
      }
      await mkdir(join(folder, 'server.pid'));
      await writeFiles(folder, {
        'plugin-server.ini': '[network]\nport=int:0\n[paths]\npidfile=server.pid\n',
      });
      const { status, stderr } = await run('start', '--safe');
      expect(status).to.equal(1);
      expect(stderr).to.contain('cannot be written');
    });

    it('writes the log to the file and at the level that its options name', async () => {
      const server = await startHello({ raw: true, args: ['-l', 'out/server.log', '-v', 'debug'] });
      try {
        const { readFile } = await import('node:fs/promises');
        const log = join(server.folder, 'out/server.log');
        let text = '';
        while (!(text.includes('serving on') && text.includes('"level":"debug"'))) {
          await new Promise((resolve) => setImmediate(resolve));
          text = await readFile(log, 'utf8').catch(() => '');
        }
        expect(server.logs).to.deep.equal([]);
      } finally {
        await server.close();
      }
    });

    it('says that a log file cannot be written, and where it is named', async () => {
      await writeFiles(folder, {
        taken: '',
        'plugin-server.ini': '[network]\nport=int:0\n[log]\nfile=taken/x.log\n',
      });
      const inIni = await run('start', '--safe');
      expect(inIni.status).to.equal(1);
      expect(inIni.stderr).to.match(
        /^plugin-server\.ini:4:6: the log file .*taken\/x\.log cannot be written \(E\w+\)/,
      );
      const onCommandLine = await run('start', '--safe', '-l', 'taken/y.log');
      expect(onCommandLine.status).to.equal(1);
      expect(onCommandLine.stderr).to.match(
        /^plugin-server: not started: the log file .*taken\/y\.log cannot be written \(E\w+\)\n$/,
      );
    });

    it('with --safe loads the plugins that [main] names and no other', async () => {
      const server = await startHello({ files: { 'plugins/broken.js': 'this is no JavaScript' } });
      try {
        expect((await server.fetch('/hello')).status).to.equal(200);
        expect((await server.fetch('/sessman/new', { method: 'POST' })).status).to.equal(404);
      } finally {
        await server.close();
      }
    });
  });
});
