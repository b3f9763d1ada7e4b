import { stat } from 'node:fs/promises';
import type { Agent } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { memoryOf } from '../support/memory.js';
import { Server } from '../support/server.js';

const clients = 32;
const waves = 4;
/** Seconds. */
const ttl = 3;
/** MB. */
const memoryAllowed = 100;

export const expiry: Fault = {
  name: 'expiry',
  title: 'a day of sessions in minutes: made, used, expired after 3 s, embedded store',
  async run(scale) {
    const perWave = scale(1_000_000, 10_000) / waves;
    const verdict = new Verdict();
    const server = await Server.start({
      ini: '[plugin_parms]\nsessman=json=sessman.json',
      files: { 'sessman.json': JSON.stringify({ session_ttl: ttl, removal_delay: 0 }) },
    });
    const file = join(server.folder, 'data/sessman/store/sessions.mdb');
    const size = async () => Math.round((await stat(file)).size / 1024 / 1024);
    const users = new Users(server);
    const sizes: number[] = [];
    let peak = 0;
    let slowest = 0;
    try {
      await users.wave(1000);
      const before = await memoryOf(server.pids());
      let busy = 0;
      let ended = 0;
      for (let wave = 0; wave < waves; wave += 1) {
        const waveBegun = performance.now();
        await users.wave(perWave);
        peak = Math.max(peak, await memoryOf(server.pids()));
        sizes.push(await size());
        ended = performance.now();
        busy += ended - waveBegun;
        // They die and are cleared away, so that the next wave finds the room of this one, however quick the machine is.
        while ((await stored(server)) > 0 && performance.now() - ended < 60_000) await sleep(200);
      }
      const clearing = performance.now() - ended;
      const left = await stored(server);
      const after = await memoryOf(server.pids());
      ({ slowest } = users);
      verdict.expect(left === 0, `${left} records were left`);
      verdict.expect(users.wrong.length === 0, `wrong: ${users.wrong.slice(0, 3).join('; ')}`);
      verdict.expect(
        sizes.at(-1)! <= sizes[0]! * 1.25 + 2,
        `the file grew from ${sizes[0]} to ${sizes.at(-1)} MB over ${waves} waves alike`,
      );
      verdict.expect(after - before <= memoryAllowed, `memory ${before} MB before, ${after} MB after`);
      return {
        times: `${users.made.toLocaleString('en')} sessions`,
        acknowledged: users.made,
        wrong: users.wrong.length,
        slowest,
        recovery: clearing,
        notes: [
          `${Math.round(users.made / (busy / 1000)).toLocaleString('en')} sessions a second, each created and read, a tenth patched; recovery is from the last session until the store is empty`,
          `the store's file after each quarter: ${sizes.join(', ')} MB: the space of expired sessions is used again`,
          `memory of all processes ${before} MB before, ${peak} MB at most, ${after} MB after`,
        ],
        failures: verdict.failures,
      };
    } finally {
      await server.close();
    }
  },
};

class Users {
  made = 0;
  slowest = 0;
  readonly wrong: string[] = [];
  readonly #agents: Agent[] = Array.from({ length: clients }, oneConnection);

  constructor(readonly server: Server) {}

  async wave(count: number): Promise<void> {
    let left = count;
    await Promise.all(
      this.#agents.map(async (agent, i) => {
        while (left > 0) {
          left -= 1;
          await this.#use(agent, i);
        }
      }),
    );
  }

  async #use(agent: Agent, i: number): Promise<void> {
    const body = { userid: `user-${i}-${this.made % 1000}`, data: { basket: [1, 2, 3], n: this.made } };
    const made = await this.#send('new', agent, body, {});
    if (made === undefined) return;
    this.made += 1;
    await this.#send('get', agent, undefined, { 'X-Session-Id': made.session_id });
    if (this.made % 10 === 0) {
      await this.#send('patch', agent, { session_id: made.session_id, data: { seen: true } }, {});
    }
  }

  async #send(path: string, agent: Agent, body: unknown, headers: Record<string, string>) {
    const answer = await call(this.server.url, `/sessman/${path}`, { body, headers, agent });
    this.slowest = Math.max(this.slowest, answer.ms);
    if (answer.status === 200) return JSON.parse(answer.text) as { session_id: string };
    this.wrong.push(`${path}: ${answer.status} ${answer.text.slice(0, 100)} ${answer.error ?? ''}`);
    return undefined;
  }
}

/** How many records the store holds, dead ones included. */
async function stored(server: Server): Promise<number> {
  const { text } = await call(server.url, '/metrics');
  return Number(/^sessman_sessions(?:\{[^}]*\})? (\d+)/m.exec(text)?.[1] ?? Number.NaN);
}
