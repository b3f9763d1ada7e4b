/**
 * What watchers cost: `npm run bench:watch`, or `npm run bench:watch -- 'mongodb://user:password@host/database'` with the
 * sessions there, and then also between two servers, as on two hosts. Two workers each; each watcher is a connection of its
 * own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, memory } from './processes.mjs';

const program = fileURLToPath(new URL('../dist/bundle/cli.js', import.meta.url));
const many = 10_000;
/** Seconds over which the cost of idle watchers is measured. */
const idle = 20;

const [server_url] = process.argv.slice(2);
const started = [];
try {
  const host = await start();
  await thousand([host]);
  // Of the embedded store, a second server would have another one.
  if (server_url) {
    const other = await start();
    await thousand([host, other]);
    other.child.kill('SIGTERM');
    await once(other.child, 'exit');
  }
  await tenThousand(host);
} finally {
  for (const { child, folder } of started) {
    child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  }
}
process.exit();

async function start() {
  const folder = mkdtempSync(join(tmpdir(), 'plugin-server-bench-'));
  writeFileSync(join(folder, 'sessman.json'), JSON.stringify(server_url ? { server_url } : {}));
  writeFileSync(
    join(folder, 'plugin-server.ini'),
    '[network]\nport=int:0\nworkers=int:2\n[log]\nlevel=info\n[plugin_parms]\nsessman=json=sessman.json\n',
  );
  const child = spawn(process.execPath, [program, 'start', '-i', 'plugin-server.ini'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push({ child, folder });
  const port = await new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error('the server did not start')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { msg = '', url } = JSON.parse(line);
      if (msg.startsWith('serving on ')) resolve(Number(new URL(url).port));
    });
  });
  return { child, port };
}

/**
 * How long it takes until the last of 1,000 learns of an `end_all` on the first host: 50 sessions of a user, 20 watchers each,
 * by turns on each host.
 */
async function thousand(hosts) {
  const times = [];
  const [{ port }] = hosts;
  for (let round = 0; round < 5; round += 1) {
    const user = `user ${hosts.length} ${round}`;
    const ids = await makeSessions(port, 50, () => user);
    const watchers = await watch(
      Array.from({ length: 20 }, (_, n) =>
        ids.map((id) => ({ id, port: hosts[n % hosts.length].port })),
      ).flat(),
    );
    const begun = performance.now();
    await post(port, `end_all?userid=${encodeURIComponent(user)}`);
    await Promise.all(watchers.map(({ ended }) => ended));
    times.push(Math.round(performance.now() - begun));
  }
  const where = hosts.length === 1 ? '' : ` on ${hosts.length} hosts`;
  console.log(`1,000 watchers${where} learn of an end_all within ${times.join(', ')} ms`);
}

async function tenThousand({ child, port }) {
  const ids = await makeSessions(port, many, (n) => `watched ${n}`);
  await sleep(3000);
  const before = { memory: memory(child.pid).total, cpu: await cpuOfIdling(child) };
  const watchers = await watch(ids.map((id) => ({ id, port })));
  await sleep(3000);
  const after = { memory: memory(child.pid).total, cpu: await cpuOfIdling(child) };
  const each = (after.memory - before.memory) / many / 1024;
  console.log(`${many} watchers: ${each.toFixed(1)} KB each, over all processes of the server`);
  const percent = (seconds) => `${((seconds / idle) * 100).toFixed(1)} %`;
  console.log(
    `CPU without ${percent(before.cpu)}, with ${many} watchers of as many sessions ${percent(after.cpu)} of a core`,
  );
  for (const { socket } of watchers) socket.destroy();
}

async function cpuOfIdling(child) {
  const before = cpuSeconds(child.pid);
  await sleep(idle * 1000);
  return cpuSeconds(child.pid) - before;
}

async function makeSessions(port, count, userid) {
  const ids = [];
  for (let from = 0; from < count; from += 50) {
    const part = Array.from({ length: Math.min(50, count - from) }, (_, n) =>
      post(port, `new?userid=${encodeURIComponent(userid(from + n))}`),
    );
    ids.push(...(await Promise.all(part)).map(({ session_id }) => session_id));
  }
  return ids;
}

async function post(port, path) {
  const response = await fetch(`http://127.0.0.1:${port}/sessman/${path}`, { method: 'POST' });
  if (response.status === 503) {
    await sleep(1000);
    return post(port, path);
  }
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Opens streams, some at a time, and resolves when each has had its first event. */
async function watch(wanted) {
  const watchers = [];
  for (let from = 0; from < wanted.length; from += 100)
    watchers.push(...(await Promise.all(wanted.slice(from, from + 100).map(openAtLast))));
  return watchers;
}

/** A server that has too much to do refuses streams, and is asked again, as by any client. */
async function openAtLast(wanted) {
  for (;;) {
    const watcher = await open(wanted);
    if (watcher !== undefined) return watcher;
    await sleep(1000);
  }
}

/** Undefined where the server refuses with a 503. */
function open({ id, port }) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    let end;
    const ended = new Promise((tell) => {
      end = tell;
    });
    socket.write(`GET /sessman/watch HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Session-Id: ${id}\r\n\r\n`);
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.startsWith('HTTP/1.1 503')) resolve(undefined);
      if (text.includes('event: session')) resolve({ socket, ended });
      if (text.includes('event: end')) end();
      text = text.slice(-64);
    });
    socket.on('close', () => reject(new Error(`closed: ${text}`)));
  });
}
