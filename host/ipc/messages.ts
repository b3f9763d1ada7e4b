/** The messages between the supervisor and a worker, over their IPC channel. All are JSON. */

import type { Problem } from '../../config/problem.js';
import type { Loss, Message } from '../channels/message.js';
import type { Asker, ReloadOutcome, Share, ShareRequest, UnusedShare } from '../control.js';
import type { BoundListener, PluginListener } from '../kit/plugin-listener.js';
import type { MonitorEvent } from '../kit/server-view.js';
import type { MetricReport } from '../monitor/metric-report.js';
import type { Report } from '../monitor/report.js';
import type { Address, Listening } from '../prepare/listen-addresses.js';
import type { Snapshot } from '../prepare/snapshot.js';
import type { JobTimes } from '../storage/jobs.js';

export type { Address, Listening, MetricReport, Snapshot };

/** The options with which a worker starts its Host. */
export interface WorkerOptions {
  /** The same for all workers of one supervisor, which sets it. */
  serverId?: string;
  readonly iniFile: string;
  /** Without the file, every setting has its default. */
  readonly iniOptional: boolean;
  readonly logFile?: string;
  readonly logLevel?: string;
  /** See LogOptions. */
  readonly auditByLevel?: boolean;
  /** A module to load before anything else (`node --import`). */
  readonly preload?: string;
  readonly safe: boolean;
  /** It is watched by the author of a plugin (`--watch`). */
  readonly development: boolean;
  /** Given to every worker of a generation but the first, and to replacements of crashed workers. */
  readonly snapshot?: Snapshot;
  /** Why the processes retired in whose place this one is, one after the other. */
  readonly retirements?: readonly string[];
  /** Of the process that serves the admin address: it runs no plugin. */
  readonly front?: FrontOptions;
  /** See PrepareOptions. */
  readonly keyless?: string | undefined;
  /** See HostOptions. The supervisor changes it, for workers that it starts later. */
  timeShift?: number;
}

export interface FrontOptions {
  /** Of the Unix socket on which the workers accept what it relays. */
  readonly socketPath: string;
  /** The names of the plugins. */
  readonly plugins: readonly string[];
}

/** The settings that the supervisor uses; it never reads the configuration itself. Times are in milliseconds. */
export interface ProcessSettings {
  readonly addresses: readonly Listening[];
  /** Undefined: operators use those. */
  readonly admin: readonly Listening[] | undefined;
  readonly workers: number;
  readonly stopGrace: number;
  readonly stopTimeout: number;
  readonly streamGrace: number;
  /** How long a worker may go without responding; 0 for no limit. */
  readonly workerTimeout: number;
  /** Bytes of memory over which a worker is replaced; 0 for no limit. */
  readonly workerMemory: number;
  /** How long a request may wait for its turn; 0 for no limit. */
  readonly maxDelay: number;
  readonly pidFile?: string | undefined;
  readonly log: LogSettings;
}

export interface LogSettings {
  readonly level: string;
  /** Absent: pretty on a terminal, else JSON. */
  readonly format?: 'json' | 'pretty' | undefined;
  readonly file?: string | undefined;
  readonly auditByLevel?: boolean | undefined;
}

/** What a ready worker reports of itself. All paths are absolute. */
export interface WorkerReport {
  readonly scheme: 'http' | 'https';
  readonly plugins: readonly PluginReport[];
  /** The plugins that need no key. */
  readonly open: readonly string[];
  readonly pluginsFolder: string;
  readonly dataFolder: string;
  readonly configurationFiles: readonly string[];
}

export interface PluginReport {
  readonly name: string;
  /** `/sessman` */
  readonly path: string;
  /** With [admin], it is served there alone. */
  readonly operators: boolean;
  readonly state: string;
  readonly folder: string;
  readonly entry: string;
}

export type ToWorker =
  | { readonly type: 'start'; readonly options: WorkerOptions }
  /** The configuration is accepted: set up the plugins. */
  | { readonly type: 'proceed' }
  /** Carries the bound socket: listen on it once and close it, so that no other program can take the address. */
  | { readonly type: 'claim' }
  /**
   * Carries a socket, the one with this index of those that the worker accepts from: accept connections from it. `relayed`: from
   * the process that serves the admin address. `refusing`: those that are too many get a 503. Without it, pause at the limit.
   */
  | {
      readonly type: 'serve';
      readonly listener: number;
      readonly relayed?: true;
      readonly refusing?: true;
    }
  /** Accept no connection until the next `serve`. */
  | { readonly type: 'pause' }
  /** Answer with `stopped_accepting`. Open connections stay open. */
  | { readonly type: 'stop_accepting' }
  /** This generation is in force: its jobs run. `upFor`: for how many milliseconds workers have been there. */
  | { readonly type: 'in_force'; readonly upFor: number }
  /** Move the time of jobs, for tests, and answer with `clock_moved` when each run that came due has ended. */
  | { readonly type: 'move_clock'; readonly shift: number }
  /** Close this many of the open connections, each with its next response. */
  | { readonly type: 'shed'; readonly count: number }
  /** Answer with a `spare` for each socket that can be passed on. */
  | { readonly type: 'ask_spare' }
  /** From now on /readyz responds 503. Other requests are served. */
  | { readonly type: 'stopping' }
  /**
   * `idle`: how many milliseconds to keep a connection without a request open. `grace`: at a reload, how many milliseconds
   * WebSockets and event streams may stay. Answer with `idle_ended` after the first, and with `drained` in the end.
   */
  | { readonly type: 'drain'; readonly idle: number; readonly grace?: number }
  | { readonly type: 'metrics' }
  /** Answer with `pong`. */
  | { readonly type: 'ping' }
  | { readonly type: 'reloaded'; readonly id: number; readonly outcome: ReloadOutcome }
  | {
      readonly type: 'all_metrics';
      readonly id: number;
      readonly metrics: readonly MetricReport[];
    }
  /** The process ids of the workers that serve, and of those that did not respond in time. */
  | {
      readonly type: 'heard';
      readonly id: number;
      readonly workers: readonly number[];
      readonly silent: readonly number[];
    }
  /** Carries the socket of a plugin's listener: claim it, and answer with `listener_claimed`. */
  | { readonly type: 'claim_listener' }
  /** The address at which the listener with this id is bound, or why it is not. */
  | { readonly type: 'bound'; readonly id: number; readonly bound: BoundListener }
  /** Carries the socket of a plugin's own listener: accept connections from it, and answer with `accepting`. */
  | { readonly type: 'accept'; readonly key: string }
  /** In the order of the requests. */
  | { readonly type: 'shares'; readonly id: number; readonly shares: readonly Share[] }
  /** The subscription with this id is in force. */
  | { readonly type: 'subscribed'; readonly id: number }
  | { readonly type: 'messages'; readonly messages: readonly Message[]; readonly losses: readonly Loss[] }
  | { readonly type: 'monitor'; readonly id: number; readonly event: MonitorEvent };

export type FromWorker =
  | { readonly type: 'configured'; readonly settings: ProcessSettings; readonly snapshot: Snapshot }
  /** The code of this plugin is about to be loaded or set up. */
  | { readonly type: 'at_plugin'; readonly plugin: string }
  | { readonly type: 'ready'; readonly report: WorkerReport }
  | { readonly type: 'failed'; readonly reason: string; readonly problems: readonly Problem[] }
  /** The system's error code, such as EADDRINUSE, when the address is not available. */
  | { readonly type: 'claimed'; readonly error?: string | undefined }
  | { readonly type: 'listening'; readonly error?: string | undefined }
  | { readonly type: 'stopped_accepting' }
  /** The worker holds as many connections as it may, and has paused. */
  | { readonly type: 'full' }
  /** It holds fewer again. */
  | { readonly type: 'space' }
  /** A draining worker has closed the connections that ask nothing. */
  | { readonly type: 'idle_ended' }
  | ({ readonly type: 'clock_moved' } & JobTimes)
  /** Carries a copy of the socket with this index. */
  | { readonly type: 'spare'; readonly listener: number }
  | { readonly type: 'metrics'; readonly metrics: readonly MetricReport[] }
  /** `accepted`: connections since the worker started. `connections`: those open now. */
  /** `time`: of the machine's monotonic clock, when the others were counted. */
  | {
      readonly type: 'pong';
      readonly accepted: number;
      readonly connections: number;
      readonly time: number;
    }
  /** All requests are finished; the worker is about to exit. */
  | { readonly type: 'drained'; readonly metrics: readonly MetricReport[] }
  | { readonly type: 'reload'; readonly id: number; readonly asker: Asker }
  /** This process can no longer do all of its work: have another serve in its place, then drain it. */
  | { readonly type: 'retire'; readonly reason: string }
  | { readonly type: 'all_metrics'; readonly id: number }
  /** Ask which workers respond. Answer with `heard`. */
  | { readonly type: 'ask_heard'; readonly id: number }
  | { readonly type: 'report'; readonly report: Report }
  /** Bind the address of a plugin's own listener. Answer with `bound`. */
  | { readonly type: 'bind'; readonly id: number; readonly listener: PluginListener }
  | { readonly type: 'listener_claimed'; readonly error?: string | undefined }
  | { readonly type: 'accepting'; readonly key: string; readonly error?: string | undefined }
  /** Of rate limits. Answer with `shares`. */
  | { readonly type: 'take_shares'; readonly id: number; readonly requests: readonly ShareRequest[] }
  | { readonly type: 'give_back'; readonly unused: readonly UnusedShare[] }
  | { readonly type: 'publish'; readonly messages: readonly Message[] }
  /** Send the messages of this topic until `unsubscribe`. Answer with `subscribed`. */
  | { readonly type: 'subscribe'; readonly id: number; readonly topic: string }
  | { readonly type: 'unsubscribe'; readonly topic: string }
  /** Send monitor events with this id until `unwatch`. */
  | { readonly type: 'watch'; readonly id: number }
  | { readonly type: 'unwatch'; readonly id: number };
