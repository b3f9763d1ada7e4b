/** The program of a worker process: one Host, started and drained at the command of its supervisor. */

import { ConfigError, type Problem } from '../../config/problem.js';
import { blame, type PluginCode } from '../diagnostics/blame.js';
import { portRemedy } from '../diagnostics/port-taken.js';
import type { Host, HostDrainOptions, HostOptions } from '../host.js';
import { giveBackStartMemory } from '../ipc/idle-gc.js';
import type { MetricReport, ToWorker, WorkerOptions } from '../ipc/messages.js';
import { LogFileError } from '../log/index.js';
import { monotonic } from '../monitor/monotonic.js';
import type { Prepared } from '../prepare/index.js';
import { readerOf } from '../prepare/ini-file.js';
import { claim, type ReceivedSocket } from './accepting-socket.js';
import { collectLessOften } from './heap-growth.js';
import { SupervisorChannel } from './supervisor-channel.js';
import { endWithSupervisor } from './watchdog.js';
import { processSettings, workerReport } from './worker-report.js';

// A terminal and systemd send these to every process of the group. The supervisor decides what they mean for a worker.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.on(signal, () => {});

/** The supervisor's process id, where the system does not end this process with it. */
const [, , watched] = process.argv;
let hasDrained = false;
/** The supervisor closes the channel when this worker has drained; the kernel closes it when the supervisor dies. */
function end(): void {
  // At its end, Node stops the watchdog and waits for the threads of its pool. The supervisor kills a worker that waits too
  // long; without it, a read or write that hangs would keep this process, and the port, forever.
  if (!hasDrained) process.on('exit', () => process.kill(process.pid, 'SIGKILL'));
  try {
    process.exit();
  } finally {
    // A listener for the exit has thrown, and nobody else would end this process.
    process.kill(process.pid, 'SIGKILL');
  }
}
process.on('disconnect', end);
// What the operator preloads may take long, and the event may have come meanwhile.
if (!process.connected) end();
// Before plugins load: their code, and the hooks of the loader, can hold up the main thread.
if (watched !== undefined) endWithSupervisor(Number(watched));

// A rejection that nobody handles affects no request: the server continues. After any other stray error its state is unknown.
process.on('unhandledRejection', (reason) => {
  if (host === undefined) strays.push(reason);
  else host.reportStray(reason);
});
process.on('uncaughtException', async (error) => {
  if (!isInForce) {
    const { fail } = blame(error, plugins.values())?.code ?? atWork ?? {};
    if (fail !== undefined) {
      fail(error);
      return;
    }
    // A listener that a plugin opens without awaiting it often fails when the plugins are ready already.
    await reportFailure(strayProblem(error) ?? error);
  } else host?.reportStray(error);
  host?.flushLog();
  process.exit(1);
});

const channel = new SupervisorChannel();
let host: Host | undefined;
/** Whether the generation has replaced the one before; an error until then is a failure of its start. */
let isInForce = false;
/** From before the host exists: rejections, for its log, and the plugins whose code has run. */
const strays: unknown[] = [];
const plugins = new Map<string, PluginCode>();
/** The one whose code was run last: an error of a listener has no place in anybody's code. */
let atWork: PluginCode | undefined;
let proceed = () => {};

process.on('message', (message: ToWorker, handle: unknown) => {
  switch (message.type) {
    case 'start':
      bringUp(message.options);
      break;
    case 'proceed':
      proceed();
      break;
    case 'claim':
      channel.send({ type: 'claimed', error: claim(handle as ReceivedSocket) });
      break;
    case 'claim_listener':
      channel.send({ type: 'listener_claimed', error: claim(handle as ReceivedSocket) });
      break;
    case 'accept':
      accept(message.key, handle as ReceivedSocket);
      break;
    case 'serve':
      serve(message, handle as ReceivedSocket);
      break;
    case 'pause':
      accepting.clear();
      host?.pause();
      break;
    case 'stop_accepting':
      accepting.clear();
      host?.stopAccepting();
      channel.send({ type: 'stopped_accepting' });
      break;
    case 'shed':
      host?.shed(message.count);
      break;
    case 'ask_spare':
      for (const [listener, socket] of accepting) channel.send({ type: 'spare', listener }, socket);
      break;
    case 'in_force':
      isInForce = true;
      host?.startJobs(message.upFor);
      break;
    case 'move_clock':
      moveClock(message.shift);
      break;
    case 'stopping':
      host?.announceStop();
      break;
    case 'drain':
      drain(message);
      break;
    case 'ping':
      channel.send({
        type: 'pong',
        ...(host?.connections ?? { accepted: 0, connections: 0 }),
        time: monotonic(),
      });
      break;
    case 'metrics':
      readMetrics().then((metrics) => channel.send({ type: 'metrics', metrics }));
      break;
    default:
      channel.receive(message);
  }
});

async function bringUp(options: WorkerOptions): Promise<void> {
  try {
    // Imported here, so that the handlers for signals and for the end of the supervisor are installed first.
    const { Host } = await import('../host.js');
    host = await Host.start(hostOptions(options));
    for (const reason of strays.splice(0)) host.reportStray(reason);
    await channel.send({ type: 'ready', report: workerReport(host) });
    giveBackStartMemory();
    collectLessOften();
  } catch (error) {
    await reportFailure(error);
    process.exit(1);
  }
}

function hostOptions(options: WorkerOptions): HostOptions {
  const {
    serverId,
    iniFile,
    iniOptional,
    logFile,
    logLevel,
    auditByLevel,
    safe,
    development,
    snapshot,
    timeShift,
    keyless,
  } = options;
  const { front } = options;
  channel.retirements = options.retirements ?? [];
  return {
    iniFile,
    ...(serverId && { serverId }),
    safe,
    ...(keyless !== undefined && { keyless }),
    development,
    ...(timeShift !== undefined && { timeShift }),
    ...(logFile && { logFile }),
    ...(logLevel && { logLevel }),
    ...(auditByLevel && { auditByLevel }),
    ...(front && { front }),
    ...(snapshot ? { snapshot } : readerOf({ path: iniFile, optional: iniOptional })),
    listen: false,
    control: channel,
    onPrepared: (prepared) => onPrepared(prepared, options),
    onPlugin: (plugin) => {
      plugins.set(plugin.folder, plugin);
      atWork = plugin;
      channel.send({ type: 'at_plugin', plugin: plugin.name });
    },
  };
}

/** The configuration and the plugins' modules have been read. The supervisor checks the settings before any setup runs. */
async function onPrepared({ settings, snapshot }: Prepared, options: WorkerOptions): Promise<void> {
  const allowed = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  await channel.send({ type: 'configured', settings: processSettings(settings, options), snapshot });
  await allowed;
}

/** An error that a plugin's code threw into the event loop before the server was ready. */
function strayProblem(error: Error): ConfigError | undefined {
  const blamed = blame(error, plugins.values());
  const remedy = portRemedy(error);
  if (blamed !== undefined) {
    const message = `uncaught error in plugin "${blamed.plugin}": ${error.message}`;
    const hint = remedy ?? 'catch it, or await the promise that rejects';
    return new ConfigError([{ position: blamed.position, message, hint }]);
  }
  if (remedy === undefined || atWork === undefined) return undefined;
  const position = { file: atWork.folder, line: 1, column: 1 };
  const message = `a listener failed while plugin "${atWork.name}" started: ${error.message}`;
  return new ConfigError([{ position, message, hint: remedy }]);
}

async function reportFailure(error: unknown): Promise<void> {
  if (error instanceof ConfigError) {
    const { problems } = error;
    await channel.send({ type: 'failed', reason: summary(problems), problems });
  } else if (error instanceof LogFileError) {
    await channel.send({ type: 'failed', reason: error.message, problems: [] });
  } else {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    await channel.send({ type: 'failed', reason: `${error}`, problems: [] });
  }
}

function summary(problems: readonly Problem[]): string {
  const [first] = problems;
  if (problems.length !== 1 || first === undefined) return `${problems.length} problems were found.`;
  const sentence = `One problem was found: ${first.message}${first.hint === undefined ? '' : `; ${first.hint}`}`;
  return /[.?!]$/.test(sentence) ? sentence : `${sentence}.`;
}

async function accept(key: string, socket: ReceivedSocket): Promise<void> {
  try {
    await host?.acceptFor(key, socket);
    await channel.send({ type: 'accepting', key });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    await channel.send({ type: 'accepting', key, error: code ?? message });
  }
}

/** This process's copies of the sockets that can be passed on, while the process accepts connections. */
const accepting = new Map<number, ReceivedSocket>();

async function serve(
  { listener, relayed, refusing }: Extract<ToWorker, { type: 'serve' }>,
  socket: ReceivedSocket,
): Promise<void> {
  try {
    const canPause = 'getsockname' in socket;
    // The supervisor accepts from this copy when no worker responds.
    if (canPause) await channel.send({ type: 'spare', listener }, socket);
    await host?.serve(socket, { listener, relayed: relayed === true, refusing: refusing === true });
    if (canPause) accepting.set(listener, socket);
    await channel.send({ type: 'listening' });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    await channel.send({ type: 'listening', error: code ?? message });
  }
}

async function moveClock(shift: number): Promise<void> {
  const times = await host?.moveClock(shift);
  if (times !== undefined) channel.send({ type: 'clock_moved', ...times });
}

let isDraining = false;
/** What is counted when the last response has ended; while the plugins close, the counters are already gone. */
let lastMetrics: readonly MetricReport[] | undefined;

/** A second call, at a stop after a reload, shortens what the first allowed. */
async function drain({ idle, grace }: HostDrainOptions): Promise<void> {
  const drained = host?.drain({ ...(idle !== undefined && { idle }), ...(grace !== undefined && { grace }) });
  if (isDraining) return;
  isDraining = true;
  host?.idleEnded.then(() => channel.send({ type: 'idle_ended' }));
  await drained;
  lastMetrics = await readMetrics();
  await host?.close();
  hasDrained = true;
  await channel.send({ type: 'drained', metrics: lastMetrics });
}

async function readMetrics(): Promise<readonly MetricReport[]> {
  if (lastMetrics !== undefined || host === undefined) return lastMetrics ?? [];
  return host.metrics.report();
}
