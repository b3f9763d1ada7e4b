import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { memoryOf } from '../support/memory.js';
import { PacedClients } from '../support/paced-clients.js';
import { Server } from '../support/server.js';

const slowClients = 1000;
/** An attacker may be refused before its request is looked at, where the machine has no time for it. */
const overloaded = 503;
const idleConnections = 2000;
const largeBody = 10 * 1024 * 1024;
/** Unfolds to 100 MB. */
const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024, 32), { level: 9 });
const manyHeaders = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`X-${i}`, '1']));
/** MB that the attack may cost. */
const memoryAllowed = 250;

export const slowClientsFault: Fault = {
  name: 'slow-clients',
  title:
    '1,000 slow clients, 2,000 idle connections, 10 MB bodies, gzip bombs, 1,000 headers, unread answers',
  async run(scale) {
    const lasts = scale(30_000, 8000);
    const verdict = new Verdict();
    const server = await Server.start();
    const port = Number(new URL(server.url).port);
    const clients = new PacedClients(server);
    const attack = new Attack(server, port);
    let peak = 0;
    try {
      await clients.during(2000);
      const alone = await clients.during(Math.min(lasts, 8000));
      const before = await memoryOf(server.pids());
      attack.start();
      await attack.connected;
      const watch = setInterval(async () => {
        peak = Math.max(peak, await memoryOf(server.pids()));
      }, 200);
      const attacked = await clients.during(lasts);
      clearInterval(watch);
      await attack.stop();
      const after = await clients.during(2000);
      const kept = attacked.rate / alone.rate;
      const memoryAfter = await memoryOf(server.pids());
      verdict.expectSpeed(kept >= 0.9, `normal clients kept ${Math.round(kept * 100)} % of their rate`);
      verdict.expect(peak - before <= memoryAllowed, `memory grew from ${before} to ${peak} MB`);
      const { wrong } = attack;
      verdict.expect(wrong.length === 0, wrong.slice(0, 3).join('; '));
      for (const { failed } of [alone, attacked, after])
        verdict.expect(failed === 0, `${failed} normal requests failed`);
      return {
        times: `${lasts / 1000} s`,
        acknowledged: attacked.answered,
        wrong: wrong.length + attacked.failed,
        slowest: attacked.slowest,
        notes: [
          `normal clients: ${Math.round(alone.rate)} requests a second alone, ${Math.round(attacked.rate)} under attack (${Math.round(kept * 100)} %), slowest answer ${Math.round(alone.slowest)} ms alone`,
          `memory of all processes ${before} MB before, ${peak} MB at most, ${memoryAfter} MB after`,
          `the attackers sent ${attack.large} bodies of 10 MB, ${attack.bombs} bombs of 100 MB, ${attack.headers} times 1,000 headers, and had ${attack.cut.toLocaleString('en')} connections cut`,
        ],
        failures: verdict.failures,
      };
    } finally {
      await attack.stop();
      await server.close();
    }
  },
};

/** All at once, each on and on. */
class Attack {
  large = 0;
  bombs = 0;
  headers = 0;
  /** Connections that the server closed. */
  cut = 0;
  readonly wrong: string[] = [];
  connected: Promise<unknown> = Promise.resolve();
  readonly #sockets = new Set<Socket>();
  readonly #timers: NodeJS.Timeout[] = [];
  #loops: Promise<unknown> = Promise.resolve();
  #stopping = false;

  constructor(
    readonly server: Server,
    readonly port: number,
  ) {}

  start(): void {
    const connecting: Promise<void>[] = [];
    for (let i = 0; i < idleConnections; i += 1) connecting.push(this.#open(''));
    for (let i = 0; i < slowClients; i += 1)
      connecting.push(this.#open('POST /sessman/new HTTP/1.1\r\nX-Slow: '));
    // Takes nothing of many answers that it asks for.
    const unread = 'GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(200);
    for (let i = 0; i < 50; i += 1) connecting.push(this.#open(unread, true));
    this.connected = Promise.all(connecting);
    this.#timers.push(
      setInterval(() => {
        for (const socket of this.#sockets)
          if (socket.bytesWritten > 0 && !socket.isPaused()) socket.write('a');
      }, 1000),
    );
    this.#loops = Promise.all([this.#sendLarge(), this.#sendBombs(), this.#sendHeaders()]);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#sockets) socket.destroy();
    await this.#loops;
  }

  /** Resolves when it is connected; opens another when that is closed. */
  #open(first: string, unread = false): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({
        port: this.port,
        host: '127.0.0.1',
        localAddress: `127.0.0.${2 + (this.cut % 50)}`,
      });
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('connect', () => {
        if (unread) socket.pause();
        else socket.resume();
        socket.write(first);
        resolve();
      });
      socket.once('close', () => {
        this.#sockets.delete(socket);
        resolve();
        if (this.#stopping) return;
        this.cut += 1;
        setTimeout(() => this.#stopping || this.#open(first, unread), 100);
      });
    });
  }

  async #sendLarge(): Promise<void> {
    const body = JSON.stringify({ data: 'x'.repeat(largeBody) });
    while (!this.#stopping) {
      const answer = await call(this.server.url, '/sessman/new?userid=large', { body });
      this.large += 1;
      if (answer.status !== 413 && answer.status !== overloaded)
        this.wrong.push(`a body of 10 MB was answered ${answer.status} ${answer.error}`);
      await sleep(200);
    }
  }

  async #sendBombs(): Promise<void> {
    while (!this.#stopping) {
      const status = await this.#sendBomb();
      this.bombs += 1;
      if (status !== 413 && status !== overloaded) this.wrong.push(`a gzip bomb was answered ${status}`);
      await sleep(200);
    }
  }

  #sendBomb(): Promise<number> {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(Number(text.split(' ')[1])));
      socket.write(
        `POST /sessman/new?userid=bomb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`,
      );
      socket.write(bomb);
    });
  }

  async #sendHeaders(): Promise<void> {
    while (!this.#stopping) {
      const answer = await call(this.server.url, '/livez', { headers: manyHeaders });
      this.headers += 1;
      // Newer versions of Node find so many too large.
      if (answer.status !== 200 && answer.status !== 431 && answer.status !== overloaded)
        this.wrong.push(`1,000 headers were answered ${answer.status}`);
      await sleep(50);
    }
  }
}
