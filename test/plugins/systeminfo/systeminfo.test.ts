import { readFile } from 'node:fs/promises';
import { cpus, totalmem, uptime } from 'node:os';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

// biome-ignore lint/suspicious/noExplicitAny: whatever JSON holds
type Json = any;

describe('systeminfo', () => {
  let server: TestServer;

  before(async () => {
    server = await startServer({ ini: '[plugin_parms]\nsysteminfo=interval=1&disk_interval=1\n' });
  });

  after(() => server.close());

  const get = async (path: string) => {
    const answer = await server.fetch(path);
    expect(answer.status, path).to.equal(200);
    return answer.json() as Promise<Record<string, Json>>;
  };

  it('has measured all for the first who asks', async () => {
    const all = await get('/systeminfo');
    expect(all).to.have.all.keys('cpu', 'memory', 'disks', 'network', 'uptime');
    for (const part of ['cpu', 'memory', 'disks', 'network']) {
      expect(Date.parse(all[part]!.sampled_at), part).to.be.closeTo(Date.now(), 60_000);
    }
  });

  it('answers each part by itself, as in the whole', async () => {
    for (const part of ['cpu', 'memory', 'disks', 'network', 'uptime']) {
      expect(await get(`/systeminfo/${part}`)).to.have.all.keys(
        ...Object.keys((await get('/systeminfo'))[part]!),
      );
    }
  });

  it('looks as the documentation shows it', async () => {
    const page = await readFile(new URL('../../../../docs/systeminfo.md', import.meta.url), 'utf8');
    const [, shown = ''] = /```json\n([\s\S]*?)```/.exec(page) ?? [];
    const shape = (value: Json): Json => {
      if (Array.isArray(value)) return [...new Set(value.map((item) => JSON.stringify(shape(item))))];
      if (typeof value !== 'object' || value === null) return '';
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)]));
    };
    expect(shape(JSON.parse(shown))).to.deep.equal(shape(await get('/systeminfo')));
  });

  it('tells of the CPU what the machine tells', async () => {
    const cpu = await get('/systeminfo/cpu');
    expect(cpu.cores).to.equal(cpus().length);
    expect(cpu.load_percent_per_core).to.have.length(cpus().length);
    expect(cpu.load_average).to.have.length(3);
  });

  it('measures the load between two measurements', async () => {
    const first = await get('/systeminfo/cpu');
    let later = first;
    while (later.sampled_at === first.sampled_at) later = await get('/systeminfo/cpu');
    expect(later.load_percent).to.be.within(0, 100);
    for (const load of later.load_percent_per_core as number[]) expect(load).to.be.within(0, 100);
  });

  it('tells of memory and disks in bytes', async () => {
    const memory = await get('/systeminfo/memory');
    expect(memory.total).to.equal(totalmem());
    expect(memory.used).to.be.within(1, totalmem());
    expect(memory.used_percent).to.be.within(0, 100);
    const { filesystems } = await get('/systeminfo/disks');
    expect(filesystems).to.be.an('array');
    for (const filesystem of filesystems as unknown as Record<string, number>[]) {
      expect(filesystem.size).to.be.greaterThan(0);
      expect(filesystem.used).to.be.at.most(filesystem.size!);
    }
  });

  it('tells how long the machine has been up', async () => {
    const { seconds, booted_at } = await get('/systeminfo/uptime');
    expect(seconds).to.be.closeTo(uptime(), 5);
    expect(Date.parse(booted_at!)).to.be.closeTo(Date.now() - uptime() * 1000, 5000);
  });

  it('knows no other part', async () => {
    for (const path of [
      '/systeminfo/gpu',
      '/systeminfo/constructor',
      '/systeminfo/__proto__',
      '/systeminfo/cpu/0',
    ]) {
      expect((await server.fetch(path)).status, path).to.equal(404);
    }
    expect((await server.fetch('/systeminfo', { method: 'POST', body: '{}' })).status).to.equal(405);
  });

  it('is described in /openapi.json', async () => {
    const { paths } = await get('/openapi.json');
    expect(paths).to.include.keys('/systeminfo', '/systeminfo/cpu', '/systeminfo/uptime');
  });

  it('measures the interfaces that it is told to', async () => {
    const other = await startServer({ ini: '[plugin_parms]\nsysteminfo=interfaces=list:lo nosuch0\n' });
    try {
      const { interfaces } = (await (await other.fetch('/systeminfo/network')).json()) as {
        interfaces: { name: string }[];
      };
      expect(interfaces.map(({ name }) => name)).to.deep.equal(process.platform === 'linux' ? ['lo'] : []);
    } finally {
      await other.close();
    }
  });

  it('refuses an interval that would keep the machine busy', async () => {
    const started = startServer({ ini: '[plugin_parms]\nsysteminfo=interval=0\n' });
    const error = await started.then(
      (running) => running.close(),
      (failure: Error) => failure,
    );
    expect(String(error)).to.contain('interval');
  });
});
