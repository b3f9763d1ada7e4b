import { chmod, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { runCommand, ServerProcess } from '../../support/process.js';
import { sendRaw } from '../../support/raw.js';
import { makeFolder, withFreePort, writeFiles } from '../../support/server.js';

describe('plugin-server import', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** The INI file that is written from `original`, and the differences: `LINE subject: about`. */
  async function imported(
    original: string,
    files: Readonly<Record<string, string>> = {},
  ): Promise<{ ini: string; said: string[]; stdout: string }> {
    await rm(join(folder, 'plugin-server.ini'), { force: true });
    await writeFiles(folder, { 'pserve.ini': original, ...files });
    const { status, stdout, stderr } = await runCommand(folder, 'import', 'pserve.ini');
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    const said = [...stdout.matchAll(/^([\w.]+):(\d+): (.*)$/gm)].map(
      ([, file, line, text]) => `${file === 'pserve.ini' ? '' : `${file}:`}${line} ${text}`,
    );
    return { ini: await readFile(join(folder, 'plugin-server.ini'), 'utf8'), said, stdout };
  }

  const key = '[auth]\napikey=a-key-of-sixteen-letters\n';
  const ofAuth = (line: number, section = '[auth]') => [
    `${line} ${section}: a missing or wrong key`,
    `${line} ${section}: the responses of /plugins and /reload/all`,
  ];

  it('keeps comments, sections and order, and reads what only configparser does', async () => {
    const { ini, said } = await imported(
      `# ours\n[main]\n; values\ndomain: example.org\nmore = list:a\n   b\n     c\n\n${key}[CORS]\nenabled=bool:true\norigin_url=list:https://a.example.org\n`,
    );
    expect(ini).to.equal(
      `# ours\n[main]\n; values\ndomain=example.org\nmore=list:a b c\n\n${key}[CORS]\nenabled=bool:true\norigin_url=list:https://a.example.org\n`,
    );
    expect(said).to.deep.equal([
      '5 [main] more: a value that continues on the next lines',
      ...ofAuth(9),
      '11 [CORS]: [cors]',
    ]);
  });

  it('gives the included plugins their names and parameters, and says what is different about them', async () => {
    const { ini, said } = await imported(
      `${key}[plugin_parms]\nsysteminfo=auth=global&iface=eth0&allowed_fstypes=ext4\nfileserve=auth_type=global\nsessman=auth_type=none&server_url=db:27017&session_ttl=3600&vacuum_interval=60&password=a%23b+c\n`,
    );
    expect(ini).to.equal(
      `${key}[plugin_parms]\nsysteminfo=auth=global&interfaces=eth0\nfiles=auth_type=global\nsessman=auth_type=none&server_url=db:27017&session_ttl=int:3600&password=a#b c\n`,
    );
    expect(said).to.deep.equal([
      ...ofAuth(1),
      '4 systeminfo: allowed_fstypes: a parameter that the included plugin no longer has',
      '4 systeminfo: auth= in a line of [plugin_parms]',
      '4 systeminfo: the responses of /systeminfo',
      '5 fileserve: variables in served files',
      '6 sessman: %XX and + in parameters of plugins',
      '6 sessman: vacuum_interval of sessman',
      '6 sessman: the cookie PS_SESSID',
      '6 sessman: GET /sessman/new and /sessman/update',
      '6 sessman: a session and the address of its client',
      '6 sessman: stored sessions',
    ]);
  });

  it('comments out plugins in Python, with and without a line, and says so', async () => {
    const { ini, said } = await imported(
      `${key}[paths]\nplugins=\${main:base}/py\n[main]\nbase=\${ENV:NOWHERE}.\n[plugin_parms]\nifinfo=route_path=network\n`,
      { 'py/ifinfo.py': '', 'py/cpuinfo.py': '', 'py/systeminfo.py': '', 'py/readme.txt': '' },
    );
    expect(ini).to.include('\n# ifinfo=route_path=network\n');
    expect(said.filter((line) => !line.startsWith('1 '))).to.deep.equal([
      '4 cpuinfo: a Python plugin',
      '4 systeminfo: a plugin without auth_type',
      '4 systeminfo: the responses of /systeminfo',
      '6 ${ENV:NOWHERE}: ${ENV:NAME} of a variable that is not set',
      '8 ifinfo: a Python plugin',
    ]);
  });

  it('keeps the meaning of words that are true or false otherwise', async () => {
    const { ini, said } = await imported(
      `${key}[SSL]\nenabled=false\n[cors]\nenabled=bool:False\n[main]\na=bool:yes\nb=bool:on\n`,
    );
    expect(ini).to.include('\na=bool:false\nb=bool:on\n');
    expect(ini).to.include('[cors]\nenabled=bool:False\n');
    expect(said.slice(2)).to.deep.equal([
      '4 [SSL] enabled: [SSL] enabled=false, without bool:',
      '5 [cors]: [cors]',
      '6 [cors] enabled: [cors] enabled with a false value',
      '8 [main] a: bool: with any word but true, enabled, enable, on or 1 in lower case',
    ]);
    const { said: ignored } = await imported(`${key}[ssl]\nenabled=false\n`);
    expect(ignored.slice(2)).to.deep.equal(['3 [ssl]: a section [ssl] that is not written [SSL]']);
  });

  it('moves free values and served folders to where they belong, and the references with them', async () => {
    const { ini, said } = await imported(
      `${key}[paths]\nbase=pages\nunused=1\ndocuments=html:\${base}\nplugins=\${base}/plugins\n[file_server]\ncommon_log=\${paths:base}/log\nlog_includes=bool:true\nmarkdown_envelope=x.html\n`,
      { 'pages/plugins/x.txt': '', 'pages/hello.txt': 'hello\n' },
    );
    expect(ini).to.equal(
      `${key}[paths]\n# base=pages\n# unused=1\n# documents=html:\${base}\nplugins=\${imported:paths_base}/plugins\n[file_server]\ndocuments=html:\${imported:paths_base}\n# common_log=\${paths:base}/log\n# log_includes=bool:true\n# markdown_envelope=x.html\n\n[imported]\npaths_base=pages\n`,
    );
    expect(said.slice(2)).to.deep.equal([
      '4 [paths] base: a key that the server does not know, in one of its own sections',
      '5 [paths] unused: a key that the server does not know, in one of its own sections',
      '6 [paths] documents: [paths] documents',
      '9 [file_server] common_log: [file_server] common_log and log_includes',
      '10 [file_server] log_includes: [file_server] common_log and log_includes',
      '11 [file_server] markdown_envelope: [file_server] markdown_envelope',
    ]);
    expect((await runCommand(folder, 'check')).stderr).to.equal('');
    const server = await ServerProcess.start({ folder, ini: withFreePort(ini) });
    const page = await server.fetch('/html/hello.txt', {
      headers: { 'x-custom-auth': 'a-key-of-sixteen-letters' },
    });
    expect(await page.text()).to.equal('hello\n');
    await server.close();
  });

  it('says what a JSON file holds that no longer works, at its line, and what a server without a key does', async () => {
    const { said } = await imported('[plugin_parms]\nsessman=json=sessman.json\n', {
      'plugins/sessman.json':
        '{\n  "backend": "sqlite",\n  "database": "sessions.db",\n  "vacuum_interval": 60\n}\n',
    });
    expect(said[0]).to.equal('1 [auth] apikey: no [auth] apikey');
    expect(said.slice(-2)).to.deep.equal([
      'sessman.json:2 backend: backend=sqlite',
      'sessman.json:4 vacuum_interval: vacuum_interval of sessman',
    ]);
  });

  it('prints no value, and lets nobody read what they could not read before', async () => {
    await writeFiles(folder, {
      'pserve.ini': '[auth]\napikey=bool:hunter2\n[plugin_parms]\nmailer=password=hunter2\n',
    });
    await chmod(join(folder, 'pserve.ini'), 0o600);
    const { stdout } = await runCommand(folder, 'import', 'pserve.ini');
    expect(stdout).to.not.include('hunter2');
    expect((await stat(join(folder, 'plugin-server.ini'))).mode & 0o777).to.equal(0o600);
  });

  it('overwrites nothing, and says what it cannot read', async () => {
    await writeFiles(folder, { 'pserve.ini': key, 'plugin-server.ini': 'kept' });
    const refused = await runCommand(folder, 'import', 'pserve.ini');
    expect(refused).to.deep.equal({
      status: 1,
      stdout: '',
      stderr:
        'plugin-server: nothing written: plugin-server.ini already exists; remove it, or name another file with -i\n',
    });
    expect(await readFile(join(folder, 'plugin-server.ini'), 'utf8')).to.equal('kept');
    const other = await runCommand(folder, 'import', 'pserve.ini', '-i', 'other.ini');
    expect(other.status).to.equal(0);
    expect(other.stdout).to.match(/^wrote other\.ini; 2 things behave differently:\n/);
    expect(other.stdout).to.match(/^Next: {2}plugin-server check -i other\.ini$/m);
    const missing = await runCommand(folder, 'import', 'nowhere.ini', '-i', 'third.ini');
    expect(missing.status).to.equal(1);
    expect(missing.stderr).to.match(/nothing written: .*nowhere\.ini/);
    expect((await runCommand(folder, 'import')).status).to.equal(2);
  });

  it('tells the truth about the server: who may ask, methods, cookies and responses', async () => {
    const global = 'a-key-of-sixteen-letters';
    const { ini } = await imported(
      `${key}[plugin_parms]\nsysteminfo=auth_type=global\nsessman=auth_type=global&backend=sqlite&database=sessions.db\n`,
    );
    const server = await ServerProcess.start({ folder, ini: `${ini}[paths]\npidfile=pid\n` });
    try {
      const ask = async (path: string, init: { method?: string; headers?: object } = {}) => {
        const headers = { 'x-custom-auth': global, ...init.headers };
        const response = await server.fetch(path, { ...init, headers });
        return {
          response,
          status: response.status,
          body: (await response.json()) as Record<string, unknown>,
        };
      };
      const refused = await ask('/systeminfo', { headers: { 'x-custom-auth': 'wrong' } });
      expect(refused.status).to.equal(401);
      expect(refused.response.headers.get('www-authenticate')).to.match(/^Bearer /);
      for (const path of ['new', 'update'])
        expect((await ask(`/sessman/${path}?userid=ann`)).status, path).to.equal(405);
      const created = await ask('/sessman/new?userid=ann', { method: 'POST' });
      expect([created.status, created.response.headers.get('set-cookie')]).to.deep.equal([200, null]);
      const id = String(created.body.session_id);
      const byCookie = await ask('/sessman/get?userid=ann', { headers: { cookie: `PS_SESSID=${id}` } });
      expect(byCookie.body.code).to.equal('missing_parameter');
      expect((await ask(`/sessman/get?userid=ann&sessionid=${id}`)).status).to.equal(200);
      expect((await ask('/plugins')).body.plugins).to.deep.include({
        name: 'sessman',
        version: '0.1.0',
        path: '/sessman',
        state: 'ready',
        problem: null,
      });
      expect((await ask('/reload/all')).body).to.deep.equal({ reloaded: 'all', success: true });
      const measured = await ask('/systeminfo');
      expect(measured.body).to.have.all.keys('cpu', 'memory', 'disks', 'network', 'uptime');
      expect((measured.body.memory as { total: unknown }).total).to.be.a('number');
    } finally {
      await server.close();
    }
  });

  it('tells the truth about a server without a key', async () => {
    const { ini } = await imported('[plugin_parms]\nsysteminfo=auth_type=global\n');
    const server = await ServerProcess.start({ folder, ini });
    try {
      for (const path of ['/plugins', '/reload/all']) expect((await server.fetch(path)).status).to.equal(403);
      expect((await server.fetch('/systeminfo/uptime')).status).to.equal(200);
      const { port } = new URL(server.url);
      const answer = await sendRaw(
        Number(port),
        'GET /systeminfo/uptime HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n',
      );
      expect(answer).to.match(/^HTTP\/1\.1 421 /);
    } finally {
      await server.close();
    }
  });
});
