import { connect } from 'node:net';
import fc from 'fast-check';
import { type Fault, Verdict } from '../support/fault.js';
import { type Generated, requests, routesOf } from '../support/generate.js';
import { call } from '../support/http.js';
import { memoryOf } from '../support/memory.js';
import { Server } from '../support/server.js';

const key = 'canary-of-the-configuration';
const concurrency = 64;
const batch = 1000;
/** Milliseconds. */
const patience = 5000;

export const generated: Fault = {
  name: 'generated',
  title: 'generated requests: grammar and mutation over every route, malformed HTTP included',
  async run(scale) {
    const count = scale(100_000, 4000);
    const seed = Number(process.env.FAULTS_SEED ?? Date.now() % 1_000_000);
    const verdict = new Verdict();
    const server = await Server.start({
      ini: `[auth]\napikey=${key}\n[file_server]\ndocuments=html:public`,
      files: { 'public/index.md': '# Hello', 'public/a.txt': 'hello' },
    });
    const statuses = new Map<number, number>();
    let wrong = 0;
    let unanswered = 0;
    let slowest = 0;
    try {
      const routes = routesOf((await call(server.url, '/openapi.json')).text);
      const sessions = await makeSessions(server);
      const all = requests({ routes, sessions, key });
      const port = Number(new URL(server.url).port);
      const before = await memoryOf(server.pids());
      for (let done = 0; done < count; done += batch) {
        const waiting = fc.sample(all, { numRuns: batch, seed: seed + done });
        await Promise.all(
          Array.from({ length: concurrency }, async (_, client) => {
            for (let request = waiting.pop(); request; request = waiting.pop()) {
              const { text, ms } = await send(port, request, client);
              slowest = Math.max(slowest, ms);
              const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0);
              statuses.set(status, (statuses.get(status) ?? 0) + 1);
              if (text === '') unanswered += 1;
              const fault = text === '' && request.whole ? 'no answer' : faultIn(text, status, server.folder);
              if (fault === undefined) continue;
              wrong += 1;
              verdict.expect(
                verdict.failures.length > 3,
                `${fault}: ${JSON.stringify(request.bytes.toString('latin1').slice(0, 300))} was answered ${JSON.stringify(text.slice(0, 300))}`,
              );
            }
          }),
        );
      }
      const after = await memoryOf(server.pids());
      verdict.expect((await call(server.url, '/healthz')).status === 200, '/healthz is not 200 afterwards');
      const bad = server.logs.filter(({ level, msg }) => level === 'error' || msg.startsWith('a worker'));
      verdict.expect(bad.length === 0, `the log has: ${JSON.stringify(bad[0])?.slice(0, 500)}`);
      verdict.atMost('slowest answer', slowest, 2000);
      return {
        times: `${count.toLocaleString('en')} requests`,
        wrong,
        slowest,
        notes: [
          `seed ${seed}; answers by status: ${[...statuses]
            .sort(([a], [b]) => a - b)
            .map(([status, n]) => `${status || 'none'} ${n.toLocaleString('en')}`)
            .join(', ')}`,
          `${unanswered.toLocaleString('en')} were closed without an answer, all of them tampered with`,
          `memory of all processes ${before} MB before, ${after} MB after`,
        ],
        failures: verdict.failures,
      };
    } finally {
      await server.close();
    }
  },
};

/** An unknown method or transfer coding, no time or store for it, and another version of HTTP (RFC 9110 section 15.6). */
const HONEST_REFUSALS = new Set([501, 503, 505]);

/** What an answer must never be or hold; undefined when it is fine. */
function faultIn(text: string, status: number, folder: string): string | undefined {
  if (text === '') return undefined;
  if (status === 0) return 'no HTTP';
  if (status >= 500 && !HONEST_REFUSALS.has(status)) return `status ${status}`;
  if (text.includes(folder) || text.includes(process.cwd()) || text.includes('node_modules')) return 'a path';
  if (/\n? {4}at .*[:(]|node:internal/.test(text)) return 'a stack trace';
  if (text.includes(key)) return 'a secret';
  return undefined;
}

/**
 * Resolves with all that comes back. After bytes that need not be a whole request comes the end of all sending, else the
 * server would wait for more. Many local addresses: each has ports of its own.
 */
function send(
  port: number,
  { bytes, whole }: Generated,
  client: number,
): Promise<{ text: string; ms: number }> {
  return new Promise((resolve) => {
    const begun = performance.now();
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${2 + client}` });
    const timer = setTimeout(() => socket.destroy(), patience);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve({ text: Buffer.concat(chunks).toString('latin1'), ms: performance.now() - begun });
    });
    if (whole) socket.write(bytes);
    else socket.end(bytes);
  });
}

async function makeSessions(server: Server): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const answer = await call(server.url, '/sessman/new', {
      body: { userid: 'user', data: { i } },
      headers: { Authorization: `Bearer ${key}` },
    });
    ids.push((JSON.parse(answer.text) as { session_id: string }).session_id);
  }
  return ids;
}
