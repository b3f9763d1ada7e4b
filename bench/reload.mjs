/**
 * What reloads, a crash and a stop cost clients that never pause: `npm run bench:reload`. Half of the clients keep one
 * connection, the others open one for each request. Each has one session, writes a number into it, reads it back, and never
 * tries anything twice. The goals are printed beside the figures; the status is 1 when one is missed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from './reload-client.mjs';

const program = fileURLToPath(new URL('../dist/bundle/cli.js', import.meta.url));
const clientCount = 32;
const reloadCount = 50;
const brokenEvery = 5;
const reloadsAlone = 5;

const folder = mkdtempSync(join(tmpdir(), 'plugin-server-bench-'));
const goals = [];
try {
  await reloads();
  await crash(1);
  await crash(2);
  await stop();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const { name, figure, goal, met } of goals) {
  console.log(`${met ? 'ok    ' : 'MISSED'}  ${name.padEnd(58)}  ${String(figure).padStart(10)}  ${goal}`);
}
process.exitCode = goals.every(({ met }) => met) ? 0 : 1;

/** Each reload brings new code, which has to be in force when the command has ended, unless the INI file is broken. */
async function reloads() {
  const server = await startServer();
  let wrong = 0;
  const reload = async (number, broken) => {
    writePlugin(number);
    writeIni(broken ? 'port=int:many' : 'port=int:0');
    const begun = performance.now();
    const status = await command('reload');
    const time = performance.now() - begun;
    if (status !== (broken ? 1 : 0)) wrong += 1;
    if (!broken && (await new Client(server.url).get('/number')).number !== number) wrong += 1;
    return time;
  };
  const alone = [];
  for (let i = 1; i <= reloadsAlone; i += 1) alone.push(await reload(-i, false));
  const clients = startClients(server.url);
  const times = [];
  for (let i = 1; i <= reloadCount; i += 1) {
    const broken = i % brokenEvery === 0;
    const time = await reload(i, broken);
    if (!broken) times.push(time);
  }
  writeIni('port=int:0');
  const { requests, errors, lostWrites } = await finish(clients);
  await server.stop();
  const broken = Math.floor(reloadCount / brokenEvery);
  console.log(
    `${reloadCount} reloads, ${broken} of them broken, ${clientCount} clients, ${requests} requests; the longest took ${ms(Math.max(...times))}`,
  );
  expect('reloads: errors', errors.length, (value) => value === 0, '0');
  expect('reloads: acknowledged writes that a later read misses', lostWrites, (value) => value === 0, '0');
  expect('reloads: outcomes that were not as they should be', wrong, (value) => value === 0, '0');
  expectTime('reloads: time to new code, longest without load', Math.max(...alone), 2000);
  expectTime('reloads: time to new code, median under load', median(times), 2000);
  tell(errors);
}

async function crash(workers) {
  const server = await startServer(`workers=int:${workers}`);
  const clients = startClients(server.url);
  await sleep(500);
  const { pid } = await new Client(server.url).get('/number');
  process.kill(pid, 'SIGKILL');
  const begun = performance.now();
  // Whole again: a new process is there, and each client has had an answer since.
  await server.logged('a new worker serves');
  const answered = clients.map((client) => client.answers);
  while (clients.some((client, i) => client.answers === answered[i])) await sleep(5);
  const whole = performance.now() - begun;
  const { errors, lostWrites } = await finish(clients);
  await server.stop();
  const name = `one of ${workers} ${workers === 1 ? 'worker' : 'workers'} killed`;
  expect(
    `${name}: errors (the requests it held)`,
    errors.length,
    (value) => value <= clientCount,
    `at most ${clientCount}`,
  );
  expect(`${name}: acknowledged writes that a later read misses`, lostWrites, (value) => value === 0, '0');
  expectTime(`${name}: time until all is whole`, whole, 1000);
}

async function stop() {
  const server = await startServer();
  const clients = startClients(server.url);
  await sleep(500);
  const begun = performance.now();
  await server.stop();
  const time = performance.now() - begun;
  const { requests, errors } = await finish(clients);
  // A connection that is refused after the end has lost nothing.
  const dropped = errors.filter(({ code }) => code !== 'ECONNREFUSED');
  console.log(`a stop under load takes ${ms(time)}; ${requests} requests had been answered`);
  expect('stop: requests dropped', dropped.length, (value) => value === 0, '0');
  tell(dropped);
}

async function startServer(network = '') {
  rmSync(join(folder, 'data'), { recursive: true, force: true });
  mkdirSync(join(folder, 'plugins'), { recursive: true });
  writePlugin(0);
  writeIni('port=int:0', network);
  const child = spawn(process.execPath, [program, 'start'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let log = '';
  const waiting = new Set();
  child.stdout.setEncoding('utf8').on('data', (text) => {
    log += text;
    for (const check of waiting) check();
  });
  const logged = (text) =>
    new Promise((resolve) => {
      const check = () => {
        if (!log.includes(text)) return;
        waiting.delete(check);
        resolve();
      };
      waiting.add(check);
      check();
    });
  await logged('"msg":"serving on ');
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return { url: /"url":"([^"]+)"/.exec(log)[1], logged, stop };
}

function writeIni(port, network = '') {
  const lines = ['[network]', port, network, '[paths]', 'pidfile=server.pid'];
  writeFileSync(join(folder, 'plugin-server.ini'), lines.join('\n'));
}

function writePlugin(number) {
  const text = `import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      ctx.body = { number: ${number}, pid: process.pid };
    });
  },
});
`;
  writeFileSync(join(folder, 'plugins/number.js'), text);
}

async function command(name) {
  const child = spawn(process.execPath, [program, name], { cwd: folder, stdio: 'ignore' });
  const [status] = await once(child, 'exit');
  return status;
}

function startClients(url) {
  return Array.from({ length: clientCount }, (_, i) => {
    const client = new Client(url, { keepAlive: i % 2 === 0 });
    client.done = client.run();
    return client;
  });
}

async function finish(clients) {
  for (const client of clients) client.running = false;
  await Promise.all(clients.map((client) => client.done));
  return {
    requests: clients.reduce((sum, client) => sum + client.answers, 0),
    errors: clients.flatMap((client) => client.errors),
    lostWrites: clients.reduce((sum, client) => sum + client.lostWrites, 0),
  };
}

function expect(name, figure, isMet, goal) {
  goals.push({ name, figure, goal, met: isMet(figure) });
}

function expectTime(name, time, limit) {
  expect(name, ms(time), () => time < limit, `under ${limit / 1000} s`);
}

function tell(errors) {
  for (const error of errors.slice(0, 5)) console.log(`  ${error.code ?? ''} ${error.message}`);
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function ms(value) {
  return `${Math.round(value)} ms`;
}
