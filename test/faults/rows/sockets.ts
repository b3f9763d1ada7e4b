import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server, signal } from '../support/server.js';

/** Says who serves a socket, and echoes. */
const echo = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ websocket }) {
    websocket('/', (socket) => {
      socket.send(String(process.pid));
      socket.on('message', (data) => socket.send(data));
    });
  },
});
`;

const key = 'correct-horse-battery';
/** Seconds that sockets may stay after a reload. */
const grace = 5;
/** Milliseconds more that a client may learn of it on a busy machine. */
const lateness = 2000;
/** Milliseconds from the end of a socket until its client has the next one, when all come at once. */
const comeback = 5000;
/** Milliseconds between two messages of a client that talks. */
const pause = 10;

/** A client that comes back whenever its socket ends. */
class Client {
  pid = 0;
  /** Since when it has had no socket. */
  awaySince = performance.now();
  /** The longest that it had none. */
  longestAway = 0;
  /** Of each end of a socket: its code, and when. */
  readonly ends: { readonly code: number; readonly at: number; readonly pid: number }[] = [];
  echoes = 0;
  wrongEchoes = 0;
  slowest = 0;
  #socket: WebSocket | undefined;
  #isOver = false;
  #expected: { readonly text: string; readonly at: number } | undefined;

  constructor(
    readonly url: string,
    readonly talks: boolean,
  ) {
    this.#open();
  }

  get isThere(): boolean {
    return this.pid !== 0;
  }

  stop(): void {
    this.#isOver = true;
    this.#socket?.terminate();
  }

  #open(): void {
    if (this.#isOver) return;
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (data) => this.#hear(socket, String(data)));
    socket.on('close', (code) => {
      if (this.pid !== 0) {
        this.awaySince = performance.now();
        this.ends.push({ code, at: this.awaySince, pid: this.pid });
      }
      this.pid = 0;
      this.#expected = undefined;
      // A client that is refused asks again after a moment.
      setTimeout(() => this.#open(), 20 + Math.random() * 80);
    });
  }

  #hear(socket: WebSocket, text: string): void {
    if (this.pid === 0) {
      this.pid = Number(text);
      this.longestAway = Math.max(this.longestAway, performance.now() - this.awaySince);
    } else {
      this.echoes += 1;
      if (text !== this.#expected?.text) this.wrongEchoes += 1;
      else this.slowest = Math.max(this.slowest, performance.now() - this.#expected.at);
    }
    if (!this.talks) return;
    setTimeout(() => {
      if (socket.readyState !== WebSocket.OPEN) return;
      this.#expected = { text: `${this.echoes}`, at: performance.now() };
      socket.send(this.#expected.text);
    }, pause);
  }
}

export const sockets: Fault = {
  name: 'sockets',
  title: '2,000 WebSockets on two workers, 50 of which talk: reloads, and workers killed',
  async run(scale) {
    const count = scale(2000, 200);
    const rounds = scale(5, 1);
    const verdict = new Verdict();
    const server = await Server.start({
      ini: `[auth]\napikey=${key}\n[network]\nworkers=2\nstream_grace=int:${grace}\n[plugin_parms]\necho=auth_type=none\n`,
      files: { 'plugins/echo.js': echo },
    });
    const clients: Client[] = [];
    const allThere = async () => {
      for (const end = performance.now() + 60_000; performance.now() < end; await sleep(10))
        if (clients.every(({ isThere }) => isThere)) return;
      const missing = clients.filter(({ isThere }) => !isThere).length;
      verdict.expect(false, `${missing} clients have not come back within 60 s`);
    };
    const wrongs: string[] = [];
    let latest = 0;
    let recovery = 0;
    let cut = 0;
    try {
      while (clients.length < count) {
        const isTalker = clients.length % (count / 50) === 0;
        clients.push(new Client(server.url.replace('http', 'ws').concat('/echo'), isTalker));
        if (clients.length % 50 === 0) await allThere();
      }
      for (let round = 0; round < rounds; round += 1) {
        const old = new Set(clients.map(({ pid }) => pid));
        const before = clients.map(({ ends }) => ends.length);
        for (const client of clients) client.longestAway = 0;
        const { status } = await call(server.url, '/reload/all', {
          body: {},
          headers: { Authorization: `Bearer ${key}` },
          timeout: 60_000,
        });
        const begun = performance.now();
        verdict.expect(status === 200, `a reload was answered with ${status}`);
        while (clients.some(({ ends }, i) => ends.length === before[i])) {
          await sleep(10);
          if (performance.now() - begun > grace * 1000 + 60_000) break;
        }
        await allThere();
        for (const [i, { ends, pid }] of clients.entries()) {
          const [first, ...more] = ends.slice(before[i]);
          if (first?.code !== 1012) wrongs.push(`a reload ended a socket with ${first?.code}`);
          if (more.length > 0 || old.has(pid))
            wrongs.push('a client did not find the new generation at once');
          latest = Math.max(latest, (first?.at ?? Number.POSITIVE_INFINITY) - begun);
        }
        recovery = Math.max(recovery, ...clients.map(({ longestAway }) => longestAway));

        for (const client of clients) client.longestAway = 0;
        const victim = clients[0]!.pid;
        const lost = clients.filter(({ pid }) => pid === victim);
        const atKill = new Map(clients.map((client) => [client, client.ends.length]));
        signal(victim, 'SIGKILL');
        while (lost.some((client) => client.ends.length === atKill.get(client))) await sleep(10);
        await allThere();
        cut += lost.length;
        for (const client of clients) {
          const ends = client.ends.slice(atKill.get(client));
          if (lost.includes(client) ? ends.length !== 1 || client.pid === victim : ends.length > 0)
            wrongs.push('a killed worker ended the wrong sockets');
        }
        recovery = Math.max(recovery, ...clients.map(({ longestAway }) => longestAway));
      }
    } finally {
      for (const client of clients) client.stop();
      await server.close();
    }
    const wrongEchoes = clients.reduce((sum, client) => sum + client.wrongEchoes, 0);
    const echoes = clients.reduce((sum, client) => sum + client.echoes, 0);
    const slowest = Math.max(...clients.map((client) => client.slowest));
    for (const wrong of new Set(wrongs)) verdict.expect(false, wrong);
    verdict.expect(wrongEchoes === 0, `${wrongEchoes} echoes were not of the latest message`);
    verdict.atMost('told 1012', latest, grace * 1000 + lateness);
    verdict.atMost('back again', recovery, comeback);
    return {
      times: `${rounds} reloads, ${rounds} kills, ${count.toLocaleString('en')} sockets`,
      acknowledged: echoes,
      wrong: wrongs.length + wrongEchoes,
      slowest,
      recovery,
      notes: [
        `stream_grace was ${grace} s: the last client was told 1012 ${(latest / 1000).toFixed(2)} s after a reload, and each found the new generation with its next connection; the killed workers had ${cut.toLocaleString('en')} sockets, whose clients came back to the others; recovery is the longest that a client was without a socket; acknowledged are echoes`,
      ],
      failures: verdict.failures,
    };
  },
};
