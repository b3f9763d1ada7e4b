import { type ChildProcess, fork, type SendHandle } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { Loss, Message } from '../channels/message.js';
import type { SocketHandle } from '../http/socket/bound-socket.js';
import type { FromWorker, MetricReport, ToWorker, WorkerOptions } from '../ipc/messages.js';
import type { WorkerView } from '../kit/server-view.js';
import type { Report } from '../monitor/report.js';
import { bundleFlags, workerModule } from '../package-layout.js';
import type { JobTimes } from '../storage/jobs.js';
import { compileCache } from './compile-cache.js';
import { endingWithParent } from './end-with-parent.js';
import { StartFailure } from './start-failure.js';

type Answer<Type extends FromWorker['type']> = Extract<FromWorker, { type: Type }>;

/** Milliseconds. */
export interface DrainTimes {
  /** How long a connection without a request is left open. */
  readonly idle: number;
  /** At a reload, how long WebSockets and event streams may stay. Absent at a stop. */
  readonly grace?: number;
}

/** The name under which the host's own routes are counted. */
const HOST = 'plugin-server';

/** How long the runs may take that a test waits for, in milliseconds. */
const moveTimeout = 600_000;

interface WorkerEvents {
  /** `handle`: the socket sent with the message, if any. */
  message: [message: FromWorker, handle: unknown];
  /** `cause`: an exit status or a signal's name, for people. */
  exit: [cause: string];
}

/**
 * One worker process, seen from the supervisor. It exits when its channel closes, so that a supervisor that dies leaves
 * none behind. Messages arrive in the order they are sent.
 */
export class WorkerProcess extends EventEmitter<WorkerEvents> {
  readonly #child: ChildProcess;
  /** The plugin whose code ran last, as the worker reported. */
  #plugin: string | undefined;
  readonly exited: Promise<string>;
  #killedFor: string | undefined;
  /** Why it could not start, once it has said so. */
  failure: StartFailure | undefined;
  /** What ended it, once it has. */
  ended: string | undefined;
  /** Connections accepted in total, and open now, as last reported. */
  accepted = 0;
  connections = 0;
  /** With event streams and WebSockets, which `connections` leaves out, as last reported. */
  openConnections = 0;
  /** Whether it accepts connections, as its front door decided. */
  state: WorkerView['state'] = 'starting';
  /** Requests to plugins that it has finished. */
  requests = 0;
  /** The metrics it reported last, kept for when it is gone. */
  lastMetrics: readonly MetricReport[] = [];

  /** It serves the admin address, and runs no plugin. */
  readonly isFront: boolean;

  constructor(options: WorkerOptions) {
    super();
    this.isFront = options.front !== undefined;
    this.setMaxListeners(0);
    const launcher = endingWithParent();
    this.#child = fork(workerModule, launcher === undefined ? [`${process.pid}`] : [], {
      ...(launcher && { execPath: launcher.execPath }),
      execArgv: [
        ...(launcher?.execArgv ?? []),
        ...inheritedFlags(process.execArgv),
        ...bundleFlags,
        ...preloadFlags(options),
      ],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...compileCache(process.env) },
    });
    this.exited = new Promise((resolve) => {
      const end = (cause: string) => {
        if (this.ended !== undefined) return;
        this.ended = cause;
        resolve(cause);
        this.emit('exit', cause);
      };
      this.#child.on('exit', (status, signal) => end(this.#killedFor ?? signal ?? `exit status ${status}`));
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) end(error.message);
      });
    });
    this.#child.on('message', (message, handle) => this.#receive(message as FromWorker, handle));
    this.send({ type: 'start', options });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** A handle sent along stays open here. */
  send(message: ToWorker, handle?: SocketHandle): void {
    if (this.#child.connected) this.#child.send(message, handle as SendHandle, ignoreClosedChannel);
  }

  /** Of channels. `done` is called when the system has taken them, or the worker is gone. */
  sendMessages(messages: readonly Message[], losses: readonly Loss[], done: () => void): void {
    if (this.#child.connected)
      this.#child.send({ type: 'messages', messages, losses } satisfies ToWorker, () => done());
  }

  /** Waits for a message. Rejects with a StartFailure when the worker reports a failure, ends, or is too slow. */
  until<Type extends FromWorker['type']>(type: Type, timeout: number): Promise<Answer<Type>> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        this.off('message', onMessage);
        this.off('exit', onExit);
        finish();
      };
      const onMessage = (message: FromWorker) => {
        if (message.type === type) settle(() => resolve(message as Answer<Type>));
        else if (this.failure !== undefined) settle(() => reject(this.failure));
      };
      const fail = (what: string) => {
        const at = this.#plugin === undefined ? '' : ` at plugin "${this.#plugin}"`;
        settle(() => reject(new StartFailure(`A worker process ${what}${at}.`)));
      };
      const onExit = (cause: string) => fail(`ended before it was ready (${cause})`);
      const timer = setTimeout(() => fail(`was not ready within ${timeout / 1000} s`), timeout);
      this.on('message', onMessage);
      this.on('exit', onExit);
      if (this.failure !== undefined) settle(() => reject(this.failure));
      else if (this.ended !== undefined) onExit(this.ended);
    });
  }

  /** Moves the time of jobs, for tests. Rejects when the worker ends meanwhile. */
  moveClock(shift: number): Promise<JobTimes> {
    const moved = this.until('clock_moved', moveTimeout);
    this.send({ type: 'move_clock', shift });
    return moved;
  }

  /** Lets the worker finish its requests. Kills it after `timeout` milliseconds, and then resolves to false. */
  async drain({ timeout, ...times }: DrainTimes & { timeout: number }): Promise<boolean> {
    if (this.ended !== undefined) return true;
    this.send({ type: 'drain', ...times });
    let finished = true;
    const timer = setTimeout(() => {
      finished = false;
      this.kill();
    }, timeout);
    await this.exited;
    clearTimeout(timer);
    return finished;
  }

  /** @param cause for people, instead of the signal's name */
  kill(cause?: string): void {
    this.#killedFor ??= cause;
    this.#child.kill('SIGKILL');
  }

  #receive(message: FromWorker, handle: unknown): void {
    if (message.type === 'at_plugin') this.#plugin = message.plugin;
    if (message.type === 'failed') this.failure = new StartFailure(message.reason, message.problems);
    if (message.type === 'metrics' || message.type === 'drained') this.lastMetrics = message.metrics;
    // It has nothing more to send, and exits when its channel closes.
    if (message.type === 'drained') this.#child.disconnect();
    if (message.type === 'pong') {
      this.accepted = message.accepted;
      this.connections = message.connections;
    }
    if (message.type === 'report') {
      this.openConnections = message.report.connections;
      this.requests += requestsToPlugins(message.report.traffic);
    }
    this.emit('message', message, handle);
  }
}

function preloadFlags({ preload }: WorkerOptions): string[] {
  return preload === undefined ? [] : ['--import', preload];
}

/** Without those to the host's own routes, which monitoring sends to a server that does nothing. */
function requestsToPlugins(traffic: Report['traffic']): number {
  return Object.entries(traffic).reduce(
    (sum, [plugin, { requests }]) => (plugin === HOST ? sum : sum + requests),
    0,
  );
}

/** Node's flags for a worker: those of this process, but for the ones that say what to run, as in `node --test` and `node -e`. */
function inheritedFlags(flags: readonly string[]): string[] {
  const inherited: string[] = [];
  for (let i = 0; i < flags.length; i += 1) {
    const flag = flags[i]!;
    if (/^(?:-[ep]|-pe|--eval|--print)$/.test(flag)) i += 1;
    else if (!/^(?:-$|--(?:eval|print|input-type|test|watch|inspect)\b)/.test(flag)) inherited.push(flag);
  }
  return inherited;
}

/** The exit of a worker is reported by its own event; messages that it no longer receives do not matter. */
function ignoreClosedChannel(): void {}
