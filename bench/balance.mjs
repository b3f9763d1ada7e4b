/**
 * How evenly kept connections come to rest on several workers: `npm run bench:balance`. Each connection sends one request
 * after the other. After some seconds the requests of each worker are counted; the busiest may have 1.2 times its share.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../dist/bundle/cli.js', import.meta.url));
const settling = 5000;
const counting = 2000;
/** From the first connection to the last, where they are opened slowly. Milliseconds. */
const slowness = 3000;
/** Milliseconds between two requests of a connection: the count of connections matters here, not the rate. */
const pause = 20;
const goal = 1.2;

const folder = mkdtempSync(join(tmpdir(), 'plugin-server-bench-'));
let isMet = true;
try {
  for (const workers of [2, 4]) {
    for (const connections of [64, 1000]) {
      for (const opened of ['at once', 'slowly', 'before a reload'])
        await measure(workers, connections, opened);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = isMet ? 0 : 1;

async function measure(workers, connections, opened) {
  const server = await startServer(workers);
  const counts = new Map();
  let errors = 0;
  let isRunning = true;
  const client = async (delay) => {
    await sleep(delay);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (isRunning) {
      try {
        const pid = await ask(server.url, agent);
        counts.set(pid, (counts.get(pid) ?? 0) + 1);
      } catch {
        errors += 1;
      }
      await sleep(pause);
    }
    agent.destroy();
  };
  const step = opened === 'slowly' ? slowness / connections : 0;
  const clients = Array.from({ length: connections }, (_, i) => client(i * step));
  if (opened === 'before a reload') {
    await sleep(1000);
    await server.reload();
  }
  await sleep((opened === 'slowly' ? slowness : 0) + settling);
  counts.clear();
  await sleep(counting);
  const seen = [...counts.values()];
  isRunning = false;
  await Promise.all(clients);
  await server.stop();
  const share = seen.reduce((sum, each) => sum + each, 0) / workers;
  const most = Math.max(...seen) / share;
  isMet &&= most <= goal && errors === 0;
  console.log(
    `${workers} workers, ${String(connections).padStart(4)} connections opened ${opened.padEnd(15)}: the busiest has ${most.toFixed(2)} times its share, ${errors} errors`,
  );
}

function ask(url, agent) {
  return new Promise((resolve, reject) => {
    request(`${url}/who`, { agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    })
      .on('error', reject)
      .end();
  });
}

async function startServer(workers) {
  mkdirSync(join(folder, 'plugins'), { recursive: true });
  writeFileSync(
    join(folder, 'plugins/who.js'),
    `import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      ctx.body = String(process.pid);
    });
  },
});
`,
  );
  writeFileSync(
    join(folder, 'plugin-server.ini'),
    `[network]\nport=int:0\nworkers=int:${workers}\n[paths]\npidfile=server.pid\n[log]\nlevel=info\n`,
  );
  const child = spawn(process.execPath, [program, 'start'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const url = await readyUrl();
  return {
    url,
    reload: async () =>
      once(spawn(process.execPath, [program, 'reload'], { cwd: folder, stdio: 'ignore' }), 'exit'),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };

  function readyUrl() {
    return new Promise((resolve, reject) => {
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part) => {
        text += part;
        const found = /"url":"([^"]+)"/.exec(text);
        if (found !== null) resolve(found[1]);
      });
      exited.then(() => reject(new Error('the server did not start')));
    });
  }
}
