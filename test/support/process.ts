import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type Agent, get, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type LogLine, makeFolder, withFreePort, writeFiles } from './server.js';

/** The program as users run it. */
export const program = fileURLToPath(new URL('../../bundle/cli.js', import.meta.url));

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The process ids of a process's children, on Linux: none once it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Runs one command to its end. */
export async function runCommand(folder: string, ...args: readonly string[]): Promise<CommandResult> {
  return runProgram(process.execPath, [program, ...args], folder);
}

export async function runProgram(
  file: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<CommandResult> {
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output.stderr += text;
  });
  const [status] = await once(child, 'close');
  return { status, ...output };
}

export interface ProcessOptions {
  /** The text of plugin-server.ini, without `port`, which is 0 unless `ini` is given as it shall be. */
  readonly ini?: string;
  /** The INI is written as given. */
  readonly exactIni?: boolean;
  readonly files?: Readonly<Record<string, string>>;
  /** Of `start`. */
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Run in place of node itself; it is given the node command line as its arguments. */
  readonly through?: {
    readonly file: string;
    readonly args: readonly string[];
    readonly fds?: readonly number[];
  };
  /** That of a server before; a new one when absent. */
  readonly folder?: string;
  /** Does not wait until it serves. */
  readonly raw?: boolean;
}

/** The server that a test has running: the supervisor as a child process, in a folder of its own. */
export class ServerProcess {
  readonly logs: LogLine[] = [];
  /** Its standard output. */
  readonly lines: string[] = [];
  stderr = '';
  url = '';
  readonly exited: Promise<{ readonly status: number | null; readonly signal: string | null }>;
  /** All of its output has been read. */
  #isRead = false;
  readonly #waiting = new Set<() => void>();

  private constructor(
    readonly folder: string,
    readonly child: ChildProcess,
  ) {
    this.exited = once(child, 'exit').then(([status, signal]) => ({ status, signal }));
    createInterface({ input: child.stdout! }).on('line', (line) => this.#take(line));
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
      this.#wake();
    });
    // Its last lines may come after its exit.
    child.once('close', () => {
      this.#isRead = true;
      this.#wake();
    });
  }

  static async start(options: ProcessOptions = {}): Promise<ServerProcess> {
    const { ini = '', exactIni = false, files = {}, args = [], env = {}, through, raw = false } = options;
    const folder = options.folder ?? (await makeFolder());
    await writeFiles(folder, { ...files, 'plugin-server.ini': exactIni ? ini : withFreePort(ini) });
    const [file, before] = through
      ? [through.file, [...through.args, process.execPath]]
      : [process.execPath, []];
    const child = spawn(file, [...before, program, 'start', ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...(through?.fds ?? [])],
    });
    const server = new ServerProcess(folder, child);
    if (!raw) {
      const line = await server.until((entry) => entry.msg.startsWith('serving on '));
      server.url = String(line.url);
    }
    return server;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** The first log line from `from` on that fits, waiting for it. Rejects when the server ends without one. */
  async until(fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (;;) {
      const line = this.logs.slice(from).find(fits);
      if (line !== undefined) return line;
      if (this.#isRead) {
        throw new Error(`the server ended without the line; it said:\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** The process ids of its workers, on Linux. */
  workers(): number[] {
    return childrenOf(this.pid);
  }

  /** A line with this message, logged after this call. */
  next(message: string): Promise<LogLine> {
    return this.until((line) => line.msg.startsWith(message), this.logs.length);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Runs another command of the program in the same folder. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return runCommand(this.folder, ...args);
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.folder, path)), { recursive: true });
    await writeFile(join(this.folder, path), text);
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url + path, init);
  }

  /** The JSON at a path, over a connection of its own. */
  async json<Body = Record<string, unknown>>(path: string): Promise<Body> {
    const call = get(this.url + path, { agent: false });
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    return JSON.parse(await readAll(answer)) as Body;
  }

  /** Ends it, by force if it has not been stopped, and removes its folder. */
  async close(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #take(line: string): void {
    this.lines.push(line);
    // For the journal, a priority stands before it.
    const json = line.replace(/^<\d>/, '');
    if (json.startsWith('{')) this.logs.push(JSON.parse(json) as LogLine);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** A plugin for tests of the host: says who answers, echoes, and ends its process when asked to. */
export const hello = (greeting = 'Hello') => `
import { definePlugin, z } from 'plugin-server';
export default definePlugin({
  config: z.object({ greeting: z.string().default('${greeting}') }),
  setup({ config, router, metrics }) {
    const count = metrics.counter({ name: 'hello_total', help: 'Greetings.' });
    router.get('/', (ctx) => {
      count.inc();
      ctx.body = { greeting: config.greeting, pid: process.pid };
    });
    router.post('/echo', (ctx) => {
      ctx.body = { ...ctx.request.body, pid: process.pid };
    });
    router.post('/crash', () => process.kill(process.pid, 'SIGKILL'));
  },
});
`;

export interface Greeting {
  readonly greeting: string;
  readonly pid: number;
}

/** A server with that plugin and no other, which starts sooner than one with all that come along. */
export function startHello(options: ProcessOptions = {}): Promise<ServerProcess> {
  const { ini = '', files = {}, args = [] } = options;
  return ServerProcess.start({
    ...options,
    ini: `[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n${ini}`,
    files: { 'plugins/hello.js': hello(), ...files },
    args: ['--safe', ...args],
  });
}

/** A request whose body is held back: the server has its head, and answers when `finish` is called. */
export async function holdRequest(
  url: string,
  agent?: Agent,
  headers: Readonly<Record<string, string>> = {},
): Promise<HeldRequest> {
  const call = request(`${url}/hello/echo`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Transfer-Encoding': 'chunked',
      Expect: '100-continue',
      ...headers,
    },
    ...(agent && { agent }),
  });
  const answered = once(call, 'response') as Promise<[IncomingMessage]>;
  // Whoever awaits the answer hears of the error.
  answered.catch(() => {});
  call.flushHeaders();
  await once(call, 'continue');
  return {
    answered,
    async finish() {
      call.end('{"word":"late"}');
      const [answer] = await answered;
      return { status: answer.statusCode, headers: answer.headers, body: JSON.parse(await readAll(answer)) };
    },
  };
}

export interface HeldRequest {
  /** Rejects when the connection is lost. */
  readonly answered: Promise<unknown>;
  finish(): Promise<{
    readonly status: number | undefined;
    readonly headers: IncomingHttpHeaders;
    readonly body: { readonly word: string; readonly pid: number };
  }>;
}

/** Whether somebody takes connections there. */
export async function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function readAll(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) text += chunk;
  return text;
}

/** The process ids of the workers that answer, asked by many connections at once until there are so many. */
export async function pidsOf(server: ServerProcess, count: number): Promise<number[]> {
  const pids = new Set<number>();
  for (let i = 0; i < 200 && pids.size < count; i += 1) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => server.json<Greeting>('/hello')));
    for (const { pid } of answers) pids.add(pid);
  }
  return [...pids];
}
