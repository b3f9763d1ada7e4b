import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { prepare } from '../../../host/prepare/index.js';
import type { Settings } from '../../../host/prepare/settings.js';
import { makeFolder, writeFiles } from '../../support/server.js';

describe('the addresses in [network] and [admin]', () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, { 'plugins/.keep': '' });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function read(ini: string): Promise<Settings | string[]> {
    await writeFiles(folder, { 'plugin-server.ini': ini });
    try {
      return (await prepare({ iniFile: join(folder, 'plugin-server.ini'), safe: true })).settings;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map(
        ({ position: { line, column }, message, hint }) => `${line}:${column} ${message}; ${hint}`,
      );
    }
  }

  async function addresses(ini: string) {
    const { addresses: main, admin } = (await read(ini)) as Settings;
    const of = (list: Settings['addresses'] | undefined) => list?.map(({ address }) => address);
    return { main: of(main), admin: of(admin) };
  }

  it('are one or several, with one port, relative to the INI file where they are Unix sockets', async () => {
    const local = { host: '127.0.0.1', port: 6123 };
    expect(await addresses('')).to.deep.equal({ main: [local], admin: undefined });
    expect(await addresses('[network]\nbindto=unix:a b/x,y.sock\n[admin]\n')).to.deep.equal({
      main: [{ path: join(folder, 'a b/x,y.sock') }],
      admin: undefined,
    });
    expect(
      await addresses('[network]\nbindto=list:127.0.0.1 ::1 unix:run/x.sock\nport=7000\n[admin]\nport=7001'),
    ).to.deep.equal({
      main: [
        { host: '127.0.0.1', port: 7000 },
        { host: '::1', port: 7000 },
        { path: join(folder, 'run/x.sock') },
      ],
      admin: [{ host: '127.0.0.1', port: 7001 }],
    });
    expect(await addresses('[admin]\nbindto=unix:run/admin.sock')).to.deep.equal({
      main: [local],
      admin: [{ path: join(folder, 'run/admin.sock') }],
    });
  });

  for (const [ini, ...problems] of [
    ['[network]\nbindto=list:', '2:8 "bindto" in [network]: it is empty'],
    ['[network]\nbindto=127.0.0.1,::1', '2:8 '],
    ['[network]\nbindto=127.0.0.1:80', '2:8 '],
    ['[network]\nbindto=list:::1 127.0.0.1 ::1', '2:27 bindto in [network] names ::1 twice'],
    ['[network]\nbindto=list:0.0.0.0 ::', '2:21 a socket on :: accepts IPv4 connections too'],
    ['[admin]\nbindto=127.0.0.1', '2:8 [admin] has no port; write port=int:6124'],
    ['[admin]\nport=6123', '2:6 [admin] and [network] have the same address'],
    ['[admin]\nprot=6123', '2:1 unknown key "prot" in [admin]; did you mean "port"?'],
    ['[network]\nbindto=unix:x\n[admin]\nbindto=unix:x', '4:8 [admin] and [network] have the same address'],
  ] as const) {
    it(`are a mistake, with its place, in ${JSON.stringify(ini)}`, async () => {
      const found = await read(ini);
      expect(found).to.be.an('array').with.length(problems.length);
      for (const [i, problem] of problems.entries()) expect((found as string[])[i]).to.contain(problem);
    });
  }
});
