/**
 * Calls a storage for some seconds and prints how often it could, and the processor time that it took.
 *
 *     node calls.mjs lmdb|storage get|set FOLDER SECONDS
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

const [kind, operation, folder, seconds] = process.argv.slice(2);
/** Calls that wait for the disk at a time. */
const writers = 100;
const keys = 5000;
const value = { runs: 17, note: 'x'.repeat(100), at: '2026-01-01T00:00:00.000Z', told: false };

const store = await { lmdb: byHand, storage: ofPlugin }[kind]();
const key = (n) => `job-${n % keys}`;
for (let from = 0; from < keys; from += writers)
  await Promise.all(Array.from({ length: writers }, (_, i) => store.set(key(from + i), value)));
await run(Math.min(1, Number(seconds)));
const before = process.cpuUsage();
const begun = performance.now();
const count = await run(Number(seconds));
const elapsed = (performance.now() - begun) / 1000;
const { user, system } = process.cpuUsage(before);
if ((await store.get(key(7)))?.runs !== value.runs) throw new Error('the value is not what was set');
process.stdout.write(`${JSON.stringify({ rate: count / elapsed, cpu: (user + system) / count })}\n`);
await store.close();
process.exit();

async function run(duration) {
  const end = performance.now() + duration * 1000;
  let calls = 0;
  const work = async () => {
    while (performance.now() < end) {
      calls += 1;
      if (operation === 'set') await store.set(key(calls), value);
      else {
        await store.get(key(calls));
        // The event loop turns as it does between requests.
        if (calls % 1000 === 0) await nextTurn();
      }
    }
  };
  await Promise.all(Array.from({ length: operation === 'set' ? writers : 1 }, work));
  return calls;
}

/** What a plugin would write that uses lmdb itself, with the same durability, and reads what other processes wrote. */
async function byHand() {
  const { open } = await import('lmdb');
  const root = open(join(folder, 'by-hand.mdb'), {
    overlappingSync: false,
    eventTurnBatching: false,
    txnStartThreshold: 1000,
    encoding: 'binary',
  });
  const entries = root.openDB('entries', { keyEncoding: 'binary', encoding: 'binary' });
  return {
    set: (key, value) => entries.put(Buffer.from(key), Buffer.from(JSON.stringify(value))),
    async get(key) {
      root.resetReadTxn();
      const bytes = entries.getBinaryFast(Buffer.from(key));
      return bytes && JSON.parse(bytes.toString('utf8', 0, bytes.length));
    },
    close: () => root.close(),
  };
}

async function ofPlugin() {
  const { Host } = await import('../../dist/bundle/host.js');
  mkdirSync(join(folder, 'plugins'), { recursive: true });
  const plugin = `
    import { definePlugin } from 'plugin-server';
    export default definePlugin({ setup({ storage }) { globalThis.benchStorage = storage('jobs'); } });
  `;
  writeFileSync(join(folder, 'plugins', 'bench.js'), plugin);
  const iniFile = join(folder, 'plugin-server.ini');
  writeFileSync(iniFile, '[main]\nsafe=list:bench\n[network]\nport=int:0\n[log]\nlevel=silent\n');
  const host = await Host.start({ iniFile, safe: true });
  const { benchStorage } = globalThis;
  return {
    set: (key, value) => benchStorage.set(key, value),
    get: (key) => benchStorage.get(key),
    close: () => host.close(),
  };
}
