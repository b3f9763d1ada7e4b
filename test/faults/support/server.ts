import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type CommandResult, childrenOf, runProgram } from '../../support/process.js';
import { writeFiles } from '../../support/server.js';
import { call } from './http.js';

const program = fileURLToPath(new URL('../../../bundle/cli.js', import.meta.url));

export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface ServerOptions {
  /** plugin-server.ini; `port=int:0` is added to its [network]. */
  readonly ini?: string;
  /** More files beside it: path -> text. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv | ((folder: string) => NodeJS.ProcessEnv);
  /** Run in place of node, with the rest of the command line: `['prlimit', '--fsize=1000000']`. */
  readonly through?: readonly string[];
}

/** A server as a user starts it, `plugin-server start -i FILE`, in a folder that outlives its processes. */
export class Server {
  readonly folder: string;
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;
  url = '';
  readonly logs: LogLine[] = [];
  stderr = '';

  private constructor(folder: string, options: ServerOptions) {
    this.folder = folder;
    this.#options = options;
  }

  /** Writes the folder; starts nothing. */
  static async create(options: ServerOptions = {}): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), 'plugin-server-fault-'));
    const { ini = '', files = {} } = options;
    const network = /^\[network\]/m.test(ini)
      ? ini.replace(/^\[network\]/m, '[network]\nport=int:0')
      : `${ini}\n[network]\nport=int:0\n`;
    await writeFiles(folder, { ...files, 'plugin-server.ini': network });
    return new Server(folder, options);
  }

  /** Another one in a folder of an earlier one. */
  static in(folder: string, options: ServerOptions): Server {
    return new Server(folder, options);
  }

  static async start(options: ServerOptions = {}): Promise<Server> {
    const server = await Server.create(options);
    try {
      await server.start();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Resolves with the milliseconds until it says that it serves; rejects with what it said when it ends instead. */
  async start(): Promise<number> {
    const begun = performance.now();
    const { through = [], env = {} } = this.#options;
    const added = typeof env === 'function' ? env(this.folder) : env;
    const [file, ...args] = [...through, process.execPath, program, 'start', '-i', 'plugin-server.ini'];
    const child = spawn(file!, args, {
      cwd: this.folder,
      env: { ...process.env, ...added },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    const ended = once(child, 'close');
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (!line.startsWith('{') || line.endsWith('"msg":"request"}')) return;
        const entry = JSON.parse(line) as LogLine;
        this.logs.push(entry);
        if (!entry.msg.startsWith('serving on ')) return;
        this.url = String(entry.url);
        resolve();
      });
      ended.then(([status]) => reject(new StartError(status as number | null, this.stderr)));
    });
    return performance.now() - begun;
  }

  /** The first log line with this beginning, waiting up to `timeout` milliseconds for it. */
  async logged(beginning: string, timeout = 30_000): Promise<LogLine> {
    const end = performance.now() + timeout;
    for (;;) {
      const line = this.logs.find((entry) => entry.msg.startsWith(beginning));
      if (line !== undefined) return line;
      if (performance.now() > end) throw new Error(`the log has no line "${beginning}…"`);
      await sleep(10);
    }
  }

  /** The process ids of the supervisor and, after it, of its workers. */
  pids(): number[] {
    return [this.pid, ...childrenOf(this.pid)];
  }

  /** Ends all its processes at once, as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    for (const pid of this.pids().reverse()) signal(pid, 'SIGKILL');
    await closed;
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<void> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
  }

  /** Runs a command of plugin-server on its configuration: `reload`. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return runProgram(process.execPath, [program, ...args, '-i', 'plugin-server.ini'], this.folder);
  }

  /** Ends it and removes its folder. */
  async close(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The milliseconds until a path answers with that status, asking again and again for up to `timeout`. */
  async until(path: string, status: number, timeout = 30_000): Promise<number> {
    const begun = performance.now();
    for (;;) {
      const answer = await call(this.url, path, { timeout: 5000 });
      const elapsed = performance.now() - begun;
      if (answer.status === status) return elapsed;
      if (elapsed > timeout) {
        throw new Error(`${path} did not answer ${status} within ${timeout} ms but ${answer.status}`);
      }
      await sleep(5);
    }
  }
}

/** The server ended instead of serving. */
export class StartError extends Error {
  constructor(
    readonly status: number | null,
    readonly said: string,
  ) {
    super(`the server ended with ${status}; it said:\n${said}`);
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
