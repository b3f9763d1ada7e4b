import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

const startupDeadline = 30_000;

/**
 * Holds the folder until its input ends, which it does when the parent dies, however it dies. Then it kills the last
 * process it was told of and removes the folder.
 */
const guardScript = `
while read -r line; do pid=$line; done
case "$pid" in ''|-) ;; *) kill -9 "$pid" 2>/dev/null;; esac
rm -rf -- "$1"
`;

/** A server process on a folder of its own, which never outlives this process. */
export class ServerProcess {
  readonly folder: string;
  readonly #guard: ChildProcess;
  #child: ChildProcess | undefined;

  constructor(folder: string) {
    this.folder = folder;
    // A session of its own, so that Ctrl-C reaches the test runner alone and the guard cleans up after it.
    this.#guard = spawn('sh', ['-c', guardScript, 'guard', folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#guard.unref();
    (this.#guard.stdin as Socket).unref();
  }

  /** Starts the command and waits until the port takes connections. */
  async start({ file, args }: Command, port: number): Promise<void> {
    const logFile = join(this.folder, 'server.log');
    const log = await open(logFile, 'a');
    const child = spawn(file, args, { stdio: ['ignore', log.fd, log.fd], detached: true });
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    failed.catch(() => {});
    child.unref();
    await log.close();
    this.#child = child;
    if (child.pid === undefined) return failed;
    this.#tellGuard(String(child.pid));
    const deadline = Date.now() + startupDeadline;
    while (!(await accepts(port))) {
      if (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
        await pause(20);
        continue;
      }
      await this.end('SIGKILL');
      throw new Error(`${file} did not start; it said:\n${(await readFile(logFile, 'utf8')).slice(-2000)}`);
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#running) throw new Error('the server is not running');
    this.#child?.kill(signal);
  }

  /** Sends the signal and waits for the end. A process that is not running has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || !this.#running) return;
    child.ref();
    const exit = once(child, 'exit');
    child.kill(signal);
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    await exit;
    this.#tellGuard('-');
  }

  /** Ends the process and removes the folder. */
  async remove(): Promise<void> {
    await this.end('SIGKILL');
    if (this.#guard.exitCode !== null) return;
    this.#guard.ref();
    const exit = once(this.#guard, 'exit');
    this.#guard.stdin?.end();
    await exit;
  }

  get #running(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  #tellGuard(line: string): void {
    this.#guard.stdin?.write(`${line}\n`);
  }
}

/**
 * A free port below the range from which systems take outgoing connections' ports: one of those could be taken, or
 * even connect to itself, while a server is down.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
