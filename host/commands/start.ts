import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { isatty } from 'node:tty';
import { pathToFileURL } from 'node:url';
import type { Reason } from '../diagnostics/print-problems.js';
import type { WorkerReport } from '../ipc/messages.js';
import type { IniFile } from '../prepare/ini-file.js';
import { Supervisor } from '../supervisor/index.js';
import { StartFailure } from '../supervisor/start-failure.js';

export interface StartOptions {
  readonly log?: string;
  readonly level?: string;
  readonly watch?: true;
  readonly safe?: true;
  readonly import?: string;
}

/** Serves until told to stop. False when the server did not start and has printed why. */
export async function start(ini: IniFile, options: StartOptions): Promise<boolean> {
  // The reader of the output may exit before the server does.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const preload = options.import && preloadOf(options.import);
  if (preload instanceof Error) {
    await complain('not started', { reason: preload.message, problems: [] });
    return false;
  }
  const supervisor = new Supervisor({
    iniFile: ini.path,
    iniOptional: ini.optional,
    safe: options.safe === true,
    development: options.watch === true,
    ...(options.log && { logFile: resolve(options.log) }),
    ...(options.level && { logLevel: options.level }),
    ...(preload && { preload }),
  });
  obeySignals(supervisor);
  if (process.stdout.isTTY) {
    supervisor.once('serving', (report, url, _begun, adminUrl) => {
      showPlugins(report, url, adminUrl);
      if (ini.optional && !existsSync(ini.path)) process.stdout.write(firstSteps);
    });
  }
  if (process.stdout.isTTY || options.watch) {
    supervisor.on('reloadFailed', (outcome) => complain('not reloaded', outcome));
  }
  if (options.watch) (await import('../supervisor/watch.js')).watch(supervisor);
  const stopped = once(supervisor, 'stopped');
  try {
    await supervisor.start();
  } catch (failure) {
    if (!(failure instanceof StartFailure)) throw failure;
    if (supervisor.stopping) return true;
    await complain('not started', { reason: failure.message, problems: failure.problems });
    return false;
  }
  await stopped;
  // Log lines may be on their way. A write that does not come back would keep the process.
  setTimeout(() => process.exit(), lastLines).unref();
  return true;
}

/** A file by its URL; any other name is that of a package, which node finds from the working directory. */
function preloadOf(module: string): string | Error {
  const file = resolve(module);
  if (existsSync(file)) return pathToFileURL(file).href;
  if (!/^[./]/.test(module)) return module;
  return new Error(`The module of --import does not exist: ${module}`);
}

/** Milliseconds. */
const lastLines = 1000;

function obeySignals(supervisor: Supervisor): void {
  const stop = () => {
    if (supervisor.stopping) supervisor.stopNow().then(() => process.exit(0));
    else supervisor.stop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const onTerminal = isatty(0) && isatty(1) && hasTerminal();
  process.on('SIGHUP', () => {
    // A terminal that is closed sends the same signal as an operator who asks for a reload.
    if (onTerminal && !hasTerminal()) supervisor.stop();
    else supervisor.reload({ by: 'SIGHUP' });
  });
  // Without a handler, node would open its debugger.
  process.on('SIGUSR1', () => supervisor.reload({ by: 'SIGUSR1' }));
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

const firstSteps = `
plugin-server.ini does not exist, so every setting has its default. In another terminal:
  plugin-server new hello   creates a first plugin
  plugin-server --help      lists every command
`;

function showPlugins({ plugins }: WorkerReport, url: string, adminUrl = url): void {
  const width = Math.max(...plugins.map(({ name }) => name.length), 0);
  const lines = plugins.map(({ name, path, operators, state }) => {
    const note = state === 'ready' ? '' : `  (${state})`;
    return `  ${name.padEnd(width)}  ${operators ? adminUrl : url}${path}${note}\n`;
  });
  process.stdout.write(lines.join(''));
}

/** Loaded only now: a server that comes up has no use for it. */
async function complain(outcome: string, reason: Reason): Promise<void> {
  const { formatProblems } = await import('../diagnostics/print-problems.js');
  process.stderr.write(formatProblems(outcome, reason));
}
