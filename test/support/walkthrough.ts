import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { makeFolder, withFreePort, writeFiles } from './server.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));
const cli = join(project, 'dist/host/cli.js');

/** A part of a page that its reader carries out. */
export type Step =
  | { readonly kind: 'file'; readonly line: number; readonly path: string; readonly text: string }
  | { readonly kind: 'console'; readonly line: number; readonly commands: readonly Command[] };

export interface Command {
  readonly command: string;
  /** What the page shows below it. */
  readonly output: string;
}

/**
 * The steps of a Markdown page: a fenced block below a line with nothing but `` `path`: `` is a file to write, one marked
 * `console` is commands (after `$ `) with their output.
 */
export async function readSteps(page: string): Promise<readonly Step[]> {
  const text = await readFile(join(project, page), 'utf8');
  const steps: Step[] = [];
  for (const match of text.matchAll(/(?:^`([^`\n]+)`:\n\n)?^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [, path, language, content = ''] = match;
    const line = text.slice(0, match.index).split('\n').length;
    if (path !== undefined) steps.push({ kind: 'file', line, path, text: content });
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
  readonly #folder: string;
  #ini = '';

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async start(): Promise<Walkthrough> {
    const folder = await makeFolder();
    await mkdir(join(folder, 'node_modules'));
    await symlink(project, join(folder, 'node_modules/plugin-server'));
    await writeFiles(folder, { 'package.json': '{ "type": "module" }' });
    return new Walkthrough(folder);
  }

  async write(path: string, text: string): Promise<void> {
    if (path === 'plugin-server.ini') this.#ini = text;
    await writeFiles(this.#folder, { [path]: text });
  }

  /**
   * Runs commands one after the other, in one shell, and gives what each printed. A server is started for them and
   * stopped behind.
   */
  async run(commands: readonly string[]): Promise<readonly string[]> {
    const needsServer = commands.some((command) => command.includes(address));
    const ini = needsServer ? withFreePort(this.#ini) : this.#ini;
    await writeFiles(this.#folder, { 'plugin-server.ini': ini });
    const server = needsServer ? await this.#serve() : undefined;
    try {
      return await this.#execute(commands, server?.url ?? address);
    } finally {
      await server?.stop();
    }
  }

  async end(): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  async #serve() {
    const child = spawn(process.execPath, [cli, 'start'], {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        said.push(line);
        const found = /"url":"([^"]+)"/.exec(line)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once('exit', () => reject(new Error(`the server did not start:\n${said.join('\n')}`)));
    });
    const stop = async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    };
    return { url, stop };
  }

  #execute(commands: readonly string[], url: string): Promise<readonly string[]> {
    const npx = `npx() { shift; '${process.execPath}' '${cli}' "$@"; }`;
    const script = commands.map(
      (command) => `${command.replaceAll(address, url)}\nprintf '%s' '${boundary}'\n`,
    );
    const env = { ...process.env, NO_COLOR: '1' };
    return new Promise((resolve) => {
      execFile(
        'sh',
        ['-c', `exec 2>&1\n${npx}\n${script.join('')}`],
        { cwd: this.#folder, env },
        (_error, stdout) => resolve(stdout.replaceAll(url, address).split(boundary)),
      );
    });
  }
}

/** Stands between the outputs of two commands. */
const boundary = '\u241E\n';

/** Where a page's commands expect the server. */
const address = 'http://127.0.0.1:6123';

/** Output without what differs from run to run: times, ids, the line break at its end. */
export function comparable(output: string): string {
  return output
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
    .replaceAll(/"(request_id|session_id|handle)":"[^"]*"/g, '"$1":"ID"')
    .trimEnd();
}
