import { execFile } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { storeFile } from '../../dist/plugins/sessman/stores/embedded/folder.js';
import { EmbeddedStore } from '../../dist/plugins/sessman/stores/embedded/index.js';
import { Keyring } from '../../dist/plugins/sessman/stores/keyring.js';
import { send } from '../http.mjs';
import { bothCores } from '../machine.mjs';
import { besideLoad, compared } from './beside.mjs';
import { control, metrics, newSession, stored } from './calls.mjs';
import { enter } from './memory.mjs';
import { readIntoCache } from './page-cache.mjs';
import { dataBytes } from './population.mjs';
import { startServer } from './server.mjs';

const execute = promisify(execFile);
const starts = 3;
const lists = 50;
const removalSeconds = 120;
const many = 1000;
/** Bytes that a copy may have, the page cache that it fills included, which servers need for the store. */
const copyMemory = 2 ** 30;

/** Milliseconds from the start of the process to the first response about a session. */
export async function start(run) {
  const { store, first, state, save } = run;
  state.start = {};
  for (const [name, options] of Object.entries({
    'a tenth, cached': { store: first },
    'all, cached': { store },
    'all, page cache dropped': { store, cold: true },
  })) {
    const times = [];
    for (let i = 0; i < starts; i++) {
      const server = await startServer(run, options);
      times.push(Math.round(server.startTime));
      await server.stop();
    }
    state.start[name] = times;
    console.log(`first response, ${name}: ${times.join(', ')} ms`);
  }
  const opened = EmbeddedStore.open(store);
  const { bytes, free } = opened.file.size();
  const sessions = opened.count();
  await opened.close();
  state.size = { bytes, free, sessions, data: sessions * dataBytes };
  console.log(
    `${sessions} sessions with ${sessions * dataBytes} bytes of data: a file of ${bytes} bytes, ${free} of them free; ${Math.round((bytes - free) / sessions)} bytes a session`,
  );
  save();
}

/** `list` of a user with a thousand sessions among all, and a page of everybody's, the admin page's list. */
export async function list(run) {
  const userid = 'thousand@example.org';
  const path = `list?userid=${userid}`;
  let server = await startServer(run);
  try {
    const [login] = newSession();
    for (let { length } = (await timed(server.port, path)).sessions; length < many; length++) {
      await send(server.port, { ...login, path: `/sessman/new?userid=${userid}` });
    }
    await server.stop();
    server = await startServer(run, { cold: true });
    const { ms: cold, sessions } = await timed(server.port, path);
    if (sessions.length < many) throw new Error(`${sessions.length} sessions of ${userid}`);
    const warm = [];
    for (let i = 0; i < lists; i++) warm.push((await timed(server.port, path)).ms);
    warm.sort((a, b) => a - b);
    await readIntoCache(run.store);
    const page = await timed(server.port, 'sessions?limit=100');
    const prefixed = await timed(server.port, 'sessions?limit=100&userid_prefix=user-bulk-5');
    const seen = { cold, p50: warm[lists / 2], max: warm.at(-1), page: page.ms, prefixed: prefixed.ms };
    run.state.list = seen;
    run.save();
    console.log(
      `list of ${many} sessions: ${cold} ms with the page cache dropped, then p50 ${seen.p50} ms, slowest ${seen.max} ms of ${lists}; ` +
        `a page of all sessions ${seen.page} ms, of those with a prefix ${seen.prefixed} ms`,
    );
  } finally {
    await server.stop();
  }
}

async function timed(port, path) {
  const began = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/sessman/${path}`, control('GET', path));
  const { sessions } = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return { ms: Math.round((performance.now() - began) * 10) / 10, sessions };
}

/** sessman-backup of a store in use, and its size. */
export async function backup(run) {
  const { store, copy, state, save } = run;
  rmSync(copy, { recursive: true, force: true });
  const before = statSync(join(store, storeFile)).size;
  const made = await besideLoad(run, {}, async () => {
    const cgroup = enter(copyMemory, 'copy');
    try {
      return await command('backup.js', [store, copy], cgroup.command);
    } finally {
      cgroup.remove();
    }
  });
  const after = statSync(join(store, storeFile)).size;
  const size = statSync(join(copy, storeFile)).size;
  console.log(
    `${made.result}; ${compared(made)}; the copy has ${size} bytes, the store's file grew by ${after - before}`,
  );
  state.backup = { ...made, size, grew: after - before };
  save();
}

/** sessman-restore: the backup takes the place of the store, which is removed first, so that the disk need not hold three. */
export async function restore(run) {
  const { store, copy, state, save } = run;
  requireBackup(run);
  rmSync(store, { recursive: true, force: true });
  const began = performance.now();
  const said = await command('restore.js', [copy, store, '--keep-sessions']);
  const seconds = (performance.now() - began) / 1000;
  console.log(`${said}\nrestored in ${seconds.toFixed(1)} s`);
  rmSync(copy, { recursive: true, force: true });
  state.restore = { seconds };
  delete state.changed;
  save();
}

/** Encryption and `ends` leave a store that other stages cannot use. */
function requireBackup({ copy }) {
  if (!existsSync(join(copy, storeFile)))
    throw new Error(`run the stage "backup" first: ${copy} is not there`);
}

/** sessman-scrub of a store in use. */
export async function scrub(run) {
  run.state.scrub = await besideLoad(run, {}, () => command('scrub-command.js', [run.store]));
  run.save();
  console.log(`${run.state.scrub.result}; ${compared(run.state.scrub)}`);
}

/** All records are encrypted, and then again with another key. The load beside it ends after a minute. */
export async function encryption(run) {
  const { state, save } = run;
  requireBackup(run);
  const [one, two] = [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64'));
  state.encryption ??= {};
  for (const [name, keys] of Object.entries({ encrypted: [one, 'plain'], rotated: [two, one] })) {
    const current = new Keyring(keys).first;
    const work = async ({ port }) => {
      for (;;) {
        const counts = await metrics(port, 'sessman_records');
        const others = counts.filter(({ labels }) => !labels.includes(current));
        if (counts.length > 0 && others.every(({ value }) => value === 0)) return stored(port);
        run.stopIfDue();
        await pause(1000);
      }
    };
    state.changed = keys;
    save();
    const options = { settings: { encryption_key: keys } };
    state.encryption[name] = await besideLoad(run, options, work, { longest: 60_000 });
    save();
    console.log(`${state.encryption[name].result} sessions ${name}; ${compared(state.encryption[name])}`);
  }
}

/** `end_all` with `everyone=true`, and two minutes of the removal that follows. */
export async function ends(run) {
  const { state, save } = run;
  requireBackup(run);
  const settings = Array.isArray(state.changed) ? { encryption_key: state.changed } : {};
  state.changed ??= true;
  save();
  let answered;
  const work = async ({ port }) => {
    const before = await stored(port);
    const began = performance.now();
    const { status, body } = await send(port, control('POST', '/sessman/end_all?everyone=true'));
    if (status !== 200) throw new Error(`${status}: ${body}`);
    answered = performance.now() - began;
    await pause(run.seconds(removalSeconds) * 1000);
    return before - (await stored(port));
  };
  const seen = await besideLoad(run, { settings }, work);
  state.ends = { ...seen, answered };
  save();
  console.log(
    `end_all of everyone responded after ${answered.toFixed(0)} ms; then ${seen.result} records were removed in ${compared(seen)}`,
  );
}

/** Runs a command of sessman beside the server and the load, and returns what it printed. */
async function command(file, args, before = []) {
  const path = new URL(`../../dist/plugins/sessman/stores/embedded/${file}`, import.meta.url).pathname;
  const [program, ...more] = [...before, 'taskset', '--cpu-list', bothCores, process.execPath, path, ...args];
  const { stdout } = await execute(program, more);
  return stdout.trim();
}
