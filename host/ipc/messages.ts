/** What the supervisor and a worker say to each other over their IPC channel. All of it is JSON. */

import type { Problem } from '../../config/problem.js';
import type { ReloadOutcome } from '../control.js';
import type { MonitorEvent } from '../kit/server-view.js';
import type { Report } from '../monitor/report.js';
import type { Snapshot } from '../prepare/snapshot.js';

export type { Snapshot };

/** What a worker needs to bring up its Host. */
export interface WorkerOptions {
  readonly iniFile: string;
  /** Where the file is not there, every setting has its default. */
  readonly iniOptional: boolean;
  readonly logFile?: string;
  readonly logLevel?: string;
  readonly safe: boolean;
  /** Given to every worker of a generation but its first, and to those that replace a crashed one. */
  readonly snapshot?: Snapshot;
}

/** The settings that the supervisor itself goes by; it never reads the configuration. Times are in milliseconds. */
export interface ProcessSettings {
  readonly address: Address;
  readonly workers: number;
  readonly stopGrace: number;
  readonly stopTimeout: number;
  /** How long a worker may answer nothing; 0 for ever. */
  readonly workerTimeout: number;
  /** How long a request may wait for its turn; 0 for ever. */
  readonly maxDelay: number;
  readonly pidFile?: string | undefined;
  readonly log: LogSettings;
}

export interface LogSettings {
  readonly level: string;
  /** Absent: pretty on a terminal, else JSON. */
  readonly format?: 'json' | 'pretty' | undefined;
  readonly file?: string | undefined;
}

/** Where connections are accepted: an address and port, or the absolute path of a Unix socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** What a worker that is ready tells of itself. All paths are absolute. */
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
  readonly state: string;
  readonly folder: string;
  readonly entry: string;
}

/** A metric as prom-client's `getMetricsAsJSON` gives it. */
export interface MetricReport {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: readonly {
    readonly value: number;
    readonly labels: Readonly<Record<string, string | number>>;
    readonly metricName?: string;
  }[];
}

export type ToWorker =
  | { readonly type: 'start'; readonly options: WorkerOptions }
  /** The configuration is accepted: set up the plugins. */
  | { readonly type: 'proceed' }
  /** Carries the bound socket: listen on it once and close it, so that nobody else can take the address. */
  | { readonly type: 'claim' }
  /** Carries the socket: accept connections from it. */
  | { readonly type: 'serve'; readonly backlog: number }
  /** To be answered with `stopped_accepting`. Connections that are open stay. */
  | { readonly type: 'stop_accepting' }
  /** Close so many of the kept connections, each with its next answer. */
  | { readonly type: 'shed'; readonly count: number }
  /** To be answered with a `spare`. */
  | { readonly type: 'ask_spare' }
  /** Readiness answers 503 from now on; serving goes on. */
  | { readonly type: 'stopping' }
  /** `idle`: how many milliseconds a connection without a request is left open. */
  | { readonly type: 'drain'; readonly idle: number }
  | { readonly type: 'metrics' }
  /** To be answered with `pong`. */
  | { readonly type: 'ping' }
  | { readonly type: 'reloaded'; readonly id: number; readonly outcome: ReloadOutcome }
  | {
      readonly type: 'all_metrics';
      readonly id: number;
      readonly reports: readonly (readonly MetricReport[])[];
    }
  | { readonly type: 'monitor'; readonly id: number; readonly event: MonitorEvent };

export type FromWorker =
  | { readonly type: 'configured'; readonly settings: ProcessSettings; readonly snapshot: Snapshot }
  /** The code of this plugin is about to run for the first time, or to be set up. */
  | { readonly type: 'at_plugin'; readonly plugin: string }
  | { readonly type: 'ready'; readonly report: WorkerReport }
  | { readonly type: 'failed'; readonly reason: string; readonly problems: readonly Problem[] }
  /** The system's code, such as EADDRINUSE, where the address could not be had. */
  | { readonly type: 'claimed'; readonly error?: string | undefined }
  | { readonly type: 'listening'; readonly error?: string | undefined }
  | { readonly type: 'stopped_accepting' }
  /** Carries a copy of the socket. */
  | { readonly type: 'spare' }
  | { readonly type: 'metrics'; readonly metrics: readonly MetricReport[] }
  /** `accepted`: connections since the worker began. `connections`: those open now. */
  | { readonly type: 'pong'; readonly accepted: number; readonly connections: number }
  /** No request is left; the worker is about to exit. */
  | { readonly type: 'drained'; readonly metrics: readonly MetricReport[] }
  | { readonly type: 'reload'; readonly id: number }
  | { readonly type: 'all_metrics'; readonly id: number }
  | { readonly type: 'report'; readonly report: Report }
  /** Monitor events with this id are to be sent from now on, until it is taken back. */
  | { readonly type: 'watch'; readonly id: number }
  | { readonly type: 'unwatch'; readonly id: number };
