import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { MongoClient } from 'mongodb';
import { DryMongoBinary } from 'mongodb-memory-server-core/lib/util/DryMongoBinary.js';
import { MongoBinary } from 'mongodb-memory-server-core/lib/util/MongoBinary.js';
import { MongoBinaryDownloadUrl } from 'mongodb-memory-server-core/lib/util/MongoBinaryDownloadUrl.js';
import type { Command } from './process.js';

/** What a server is started with. */
export interface Launch {
  readonly port: number;
  readonly folder: string;
  readonly auth: boolean;
  readonly ttlSeconds: number;
  readonly standalone: boolean;
  readonly testCommands: boolean;
}

/** A program that speaks the MongoDB protocol. */
export interface Engine {
  readonly name: string;
  command(launch: Launch): Promise<Command>;
  /** Runs once on a new data folder, before there are users. */
  prepare?(client: MongoClient, at: { host: string; standalone: boolean }): Promise<void>;
}

const run = promisify(execFile);
const secantusVersion = '0.7.0b3';

let found: Promise<Engine> | undefined;

/** The first engine that this machine has, or can install within its means. */
export function findEngine(): Promise<Engine> {
  found ??= search();
  return found;
}

async function search(): Promise<Engine> {
  const engine = (await installedMongod()) ?? (await downloadedMongod()) ?? (await secantus());
  if (engine) return engine;
  throw new Error(
    'no server for the MongoDB tests: put mongod on the PATH, or install python3 (3.11 or newer) with venv ' +
      '(Debian: apt-get install python3-venv), or set TEST_MONGODB_URL to the URL of a user who may create users',
  );
}

async function installedMongod(): Promise<Engine | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder, 'mongod');
    if (folder && (await exists(file))) return mongod('mongod', file);
  }
  return undefined;
}

/** The binary that mongodb-memory-server keeps, downloaded now if the place it comes from can be reached. */
async function downloadedMongod(): Promise<Engine | undefined> {
  try {
    const options = await DryMongoBinary.generateOptions();
    const present = await DryMongoBinary.locateBinary(options);
    if (present) return mongod('mongodb-memory-server', present);
    const { version, platform, arch, os } = options;
    const url = await new MongoBinaryDownloadUrl({
      version,
      platform,
      arch,
      ...(os && { os }),
    }).getDownloadUrl();
    const answer = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(3000) });
    return answer.ok ? mongod('mongodb-memory-server', await MongoBinary.getPath()) : undefined;
  } catch {
    return undefined;
  }
}

function mongod(name: string, file: string): Engine {
  return {
    name,
    async command({ port, folder, auth, ttlSeconds, standalone, testCommands }) {
      const data = join(folder, 'data');
      await mkdir(data, { recursive: true });
      const args = ['--dbpath', data, '--port', `${port}`, '--bind_ip', '127.0.0.1', '--nounixsocket'];
      args.push('--setParameter', `ttlMonitorSleepSecs=${ttlSeconds}`);
      if (testCommands) args.push('--setParameter', 'enableTestCommands=1');
      if (!standalone) args.push('--replSet', 'test');
      if (auth) args.push('--auth');
      if (auth && !standalone) args.push('--keyFile', await keyFile(folder));
      return { file, args };
    },
    async prepare(client, { host, standalone }) {
      if (standalone) return;
      const initiate = { _id: 'test', members: [{ _id: 0, host }] };
      await client.db('admin').command({ replSetInitiate: initiate });
      await writable(client);
    },
  };
}

/** Waits for the server to take writes: a member of a replica set takes a moment to elect itself. */
export async function writable(client: MongoClient): Promise<void> {
  while (!(await client.db('admin').command({ hello: 1 })).isWritablePrimary) await pause(50);
}

async function keyFile(folder: string): Promise<string> {
  const file = join(folder, 'key');
  if (await exists(file)) return file;
  await writeFile(file, randomBytes(96).toString('base64'));
  await chmod(file, 0o400);
  return file;
}

/** SecantusDB, a server of the MongoDB protocol in Python, started through its class: its command has no TTL option. */
async function secantus(): Promise<Engine | undefined> {
  const python = await secantusPython();
  if (!python) return undefined;
  return {
    name: 'secantusdb',
    command: async (launch) => ({
      file: python,
      args: ['-c', secantusScript, JSON.stringify({ ...launch, folder: join(launch.folder, 'data') })],
    }),
  };
}

const secantusScript = `
import json, signal, sys
from secantus.server import SecantusDBServer
o = json.loads(sys.argv[1])
server = SecantusDBServer(
    "127.0.0.1", o["port"], o["folder"],
    require_auth=o["auth"], ttl_sweep_seconds=o["ttlSeconds"], enable_test_commands=o["testCommands"],
    replica_set_name=None if o["standalone"] else "test",
)
def stop(*_):
    server.stop()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
server.start()
server.wait()
`;

/** The interpreter of a virtual environment that has SecantusDB, made in the user's cache on first use. */
async function secantusPython(): Promise<string | undefined> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'plugin-server-test');
  const home = join(cache, `secantusdb-${secantusVersion}`);
  const python = join(home, 'bin', 'python');
  if (await exists(python)) return python;
  if (!(await hasPython())) return undefined;
  await mkdir(cache, { recursive: true });
  // Made beside its place and moved there whole: of several at once the first wins, and none is ever seen half made.
  const draft = await mkdtemp(`${home}.`);
  try {
    await run('python3', ['-m', 'venv', draft]);
    const install = ['install', '--quiet', '--disable-pip-version-check', '--only-binary=:all:'];
    await run(join(draft, 'bin', 'pip'), [...install, `secantusdb==${secantusVersion}`]);
    await rename(draft, home).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return python;
}

async function hasPython(): Promise<boolean> {
  try {
    await run('python3', ['-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))']);
    return true;
  } catch {
    return false;
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
