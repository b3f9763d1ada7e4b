import { rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';

const plugin = `
import { existsSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, server }) {
    if (existsSync('broken')) throw new Error('broken for now');
    router.get('/', (ctx) => { ctx.body = { pid: process.pid }; });
    router.post('/retire', (ctx) => {
      server.retire('its disk is gone');
      server.retire('its disk is gone');
      ctx.body = { pid: process.pid };
    });
  },
});`;

describe('a worker that asks to be replaced', () => {
  let server: ServerProcess;
  const start = async (workers: number) => {
    server = await ServerProcess.start({
      ini: `[main]\nsafe=list:try\n[network]\nworkers=int:${workers}\n`,
      files: { 'plugins/try.mjs': plugin },
      args: ['--safe'],
    });
  };
  afterEach(() => server.close());

  const retire = async () => {
    const from = server.logs.length;
    const answer = await fetch(`${server.url}/try/retire`, { method: 'POST' });
    const { pid } = (await answer.json()) as { pid: number };
    const line = await server.until(({ msg }) => msg.startsWith('a worker asked to be replaced'), from);
    expect(line.msg).to.include('its disk is gone');
    return { pid, from };
  };
  const gone = async (pid: number) => {
    for (;;) {
      try {
        process.kill(pid, 0);
      } catch {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const replaced = (from: number) =>
    server.until(({ msg }) => msg === 'a new worker serves in place of the lost one', from);
  const workers = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^plugin_server_workers (\d+)$/m.exec(text)![1]);
  };
  const ask = (agent: Agent) =>
    new Promise<number>((resolve, reject) => {
      get(`${server.url}/try`, { agent }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode!));
      }).on('error', reject);
    });

  for (const count of [1, 2]) {
    it(`is one of ${count}, and costs no client anything`, async () => {
      await start(count);
      let stopped = false;
      const statuses: number[] = [];
      const clients = Array.from({ length: 8 }, async (_, n) => {
        const agent = new Agent({ keepAlive: n % 2 === 0, maxSockets: 1 });
        for (; !stopped; await sleep(5)) statuses.push(await ask(agent));
        agent.destroy();
      });
      const { pid, from } = await retire();
      await replaced(from);
      await gone(pid);
      stopped = true;
      await Promise.all(clients);
      expect(new Set(statuses)).to.deep.equal(new Set([200]));
      expect(await workers()).to.equal(count);
      const told = server.logs.slice(from).map(({ msg }) => msg);
      expect(told.filter((msg) => msg.startsWith('a worker asked'))).to.have.length(1);
      expect(told.filter((msg) => msg.startsWith('a worker was lost'))).to.have.length(0);
    });
  }

  it('serves until another can', async () => {
    await start(1);
    await writeFile(join(server.folder, 'broken'), '');
    const { pid, from } = await retire();
    await server.until(({ msg }) => msg.startsWith('a lost worker could not be replaced'), from);
    expect(await (await fetch(`${server.url}/try`)).json()).to.deep.equal({ pid });
    await rm(join(server.folder, 'broken'));
    await replaced(from);
    await gone(pid);
    expect(((await (await fetch(`${server.url}/try`)).json()) as { pid: number }).pid).not.to.equal(pid);
  });

  it('is replaced once when it is killed meanwhile', async () => {
    await start(2);
    await writeFile(join(server.folder, 'broken'), '');
    const { pid, from } = await retire();
    process.kill(pid, 'SIGKILL');
    await gone(pid);
    await server.until(({ msg }) => msg.startsWith('a lost worker could not be replaced'), from);
    await rm(join(server.folder, 'broken'));
    await replaced(from);
    expect(await workers()).to.equal(2);
    expect((await fetch(`${server.url}/try`)).status).to.equal(200);
  });

  it('ends with its generation at a reload', async () => {
    await start(2);
    await writeFile(join(server.folder, 'broken'), '');
    const { pid, from } = await retire();
    await server.until(({ msg }) => msg.startsWith('a lost worker could not be replaced'), from);
    await rm(join(server.folder, 'broken'));
    server.signal('SIGHUP');
    await server.until(({ msg }) => msg === 'reloaded', from);
    await gone(pid);
    while ((await workers()) !== 2) await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await fetch(`${server.url}/try`)).status).to.equal(200);
  });

  it('ends at a stop', async () => {
    await start(1);
    await writeFile(join(server.folder, 'broken'), '');
    const { pid } = await retire();
    server.signal('SIGTERM');
    expect((await server.exited).status).to.equal(0);
    await gone(pid);
  });
});
