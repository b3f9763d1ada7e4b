import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './mongodb/process.js';
import { program, runProgram, ServerProcess } from './process.js';
import { makeFolder, writeFiles } from './server.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));

/** A part of a page that its reader carries out. */
export type Step =
  | { readonly kind: 'file'; readonly line: number; readonly path: string; readonly text: string }
  /** What follows stands for itself. */
  | { readonly kind: 'new folder'; readonly line: number }
  | { readonly kind: 'console'; readonly line: number; readonly commands: readonly Command[] };

export interface Command {
  readonly command: string;
  /** What the page shows below it. */
  readonly output: string;
}

/**
 * The steps of a Markdown page: a fenced block below a line with nothing but `` `path`: `` is a file to write, one marked
 * `console` is commands (after `$ `) with their output. What follows `<!-- new folder -->` is independent of what precedes it.
 */
export async function readSteps(page: string): Promise<readonly Step[]> {
  const text = await readFile(join(project, page), 'utf8');
  const steps: Step[] = [];
  for (const match of text.matchAll(
    /^<!-- new folder -->$|(?:^`([^`\n]+)`:\n\n)?^```(\w*)\n([\s\S]*?)^```$/gm,
  )) {
    const [, path, language, content = ''] = match;
    const line = text.slice(0, match.index).split('\n').length;
    if (language === undefined) steps.push({ kind: 'new folder', line });
    else if (path !== undefined) steps.push({ kind: 'file', line, path, text: content });
    else if (language === 'console') steps.push({ kind: 'console', line, commands: readCommands(content) });
  }
  return steps;
}

function readCommands(content: string): Command[] {
  return content
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n');
      return { command: part.slice(0, end), output: part.slice(end + 1) };
    });
}

/** A reader's folder, where the package is installed, and the server that runs there while commands ask it something. */
export class Walkthrough {
  #ini = '';
  readonly #files = new Map<string, string>();

  private constructor(readonly folder: string) {}

  static async start(): Promise<Walkthrough> {
    const folder = await makeFolder();
    await mkdir(join(folder, 'node_modules'));
    await symlink(project, join(folder, 'node_modules/plugin-server'));
    for (const name of peers) {
      await symlink(join(project, 'node_modules', name), join(folder, 'node_modules', name));
    }
    await writeFiles(folder, { 'package.json': '{ "type": "module" }' });
    return new Walkthrough(folder);
  }

  async write(path: string, text: string): Promise<void> {
    if (path === 'plugin-server.ini') this.#ini = text;
    else this.#files.set(path, text);
    await writeFiles(this.folder, { [path]: text });
  }

  /**
   * Runs commands one after the other in one shell and gives what each printed. Where they ask the server, it is started
   * for them and stopped behind; a program that they start with `node FILE &` is waited for, and ended behind.
   */
  async run(commands: readonly string[]): Promise<readonly string[]> {
    const programs = [...this.#files].filter(
      ([path, text]) => path.endsWith('.js') && text.includes(address),
    );
    const asksServer = (command: string) =>
      command.includes(address) || programs.some(([path]) => command.includes(path));
    if (!commands.some(asksServer)) {
      await this.write('plugin-server.ini', this.#ini);
      return this.#execute(commands, address);
    }
    const server = await ServerProcess.start({ folder: this.folder, ini: this.#ini });
    try {
      await writeFiles(
        this.folder,
        Object.fromEntries(programs.map(([path, text]) => [path, text.replaceAll(address, server.url)])),
      );
      return await this.#execute(commands, server.url);
    } finally {
      server.signal('SIGTERM');
      await server.exited;
    }
  }

  async end(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  async #execute(commands: readonly string[], url: string): Promise<readonly string[]> {
    const port = await freePort();
    const own = `http://localhost:${port}`;
    const lines = commands.map((command) =>
      command
        .replaceAll(address, url)
        .replaceAll(ownAddress, own)
        .replace(/^npx plugin-server\b/, `'${process.execPath}' '${program}'`)
        .replace(/^node (.* &)$/, `'${process.execPath}' $1\ntrap "kill $!" EXIT\n${untilItServes(own)}`),
    );
    const script = ['exec 2>&1', ...lines.flatMap((line) => [line, `echo '${boundary}'`])].join('\n');
    const env = { ...process.env, NO_COLOR: '1', PORT: `${port}` };
    const { stdout } = await runProgram('sh', ['-c', script], this.folder, env);
    return stdout.split(`${boundary}\n`).slice(0, -1);
  }
}

/** Where a page's commands expect the server. */
const address = 'http://127.0.0.1:6123';

/** Where they expect a program of the page's own, which takes its port from PORT. */
const ownAddress = 'http://localhost:3000';

const untilItServes = (url: string) =>
  `until curl -s -o /dev/null ${url}; do kill -0 $! || exit; sleep 0.05; done`;

/** What readers of some pages install besides. */
const peers = [
  'busboy',
  'connect-mongo',
  'connect-redis',
  'express',
  'express-session',
  'fastify',
  '@fastify',
  'http-proxy',
  'libsql',
  'koa',
  'koa-session',
  'koa-static',
  'mongodb',
  'redis',
  'session-file-store',
  'ws',
];

/** Tells one command's output from the next one's. */
const boundary = '---- end of output ----';

/** Output without what differs from run to run: times, ids, the line break at its end. */
export function comparable(output: string): string {
  return output
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
    .replaceAll(/"(request_id|session_id|handle)":"[^"]*"/g, '"$1":"ID"')
    .trimEnd();
}
