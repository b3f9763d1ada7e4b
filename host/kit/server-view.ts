import type { Context, Middleware } from 'koa';

/** The server as its operator sees it, summed over all its processes. */
export interface ServerView {
  /** The host's version. */
  readonly version: string;
  /** When this generation was set up, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** The plugins in the order of their setup, with the current results of their readiness checks. */
  plugins(): Promise<readonly PluginView[]>;
  /**
   * Calls the listener with the last minutes and the latest problems, then with each second and each problem as it comes.
   * Returns a function that stops this.
   */
  watch(listener: (event: MonitorEvent) => void): () => void;
  /**
   * Reads the code and the configuration again; settles when the new generation serves, or has been discarded. Rejects with a
   * 501 HttpError in a server without a supervisor. `ctx` is the request that asks, for the audit line in the log.
   */
  reload(ctx?: Context): Promise<ReloadResult>;
  /**
   * Has this process replaced when it can no longer do its work, for example because only a new process can open a resource
   * again: a new process starts, then this one finishes its requests and exits. A server without a supervisor continues.
   */
  retire(reason: string): void;
  /**
   * The reasons with which the processes retired in whose place this one is, one after the other. Empty after a start and after
   * a reload, and once one of them has worked for an hour.
   */
  readonly retirements: readonly string[];
  /**
   * Whether the request came to an address for operators: with `[admin]`, to that one, otherwise to any. For a route that does
   * more for operators than for others.
   */
  isForOperators(ctx: Context): boolean;
  /** Lets a request with a global API key through; responds 401 to others, or 403 while no global key is set. */
  readonly requireGlobalKey: Middleware;
}

export interface PluginView {
  readonly name: string;
  /** The plugin or package that its line names in `uses`. Null if it runs the plugin with its own name. */
  readonly uses: string | null;
  readonly version: string;
  /** `/sessman` */
  readonly path: string;
  readonly state: PluginState;
  /** Which key it requires; `own`: it checks keys itself. */
  readonly auth: AuthType;
  /** Whether it comes with the server. */
  readonly bundled: boolean;
  /** Where it is configured: `plugin-server.ini:12:1`; null if it is not. */
  readonly configuredAt: string | null;
  /** Its parameters as they are written, and the sections that it asked for, secrets masked. */
  readonly parameters: unknown;
  readonly sections: Readonly<Record<string, unknown>>;
  /** Why it failed. */
  readonly problem: PlacedProblem | null;
  /** Its readiness checks by name: `ok`, or why not. */
  readonly checks: Readonly<Record<string, string>>;
}

/**
 * loaded -> setting_up -> ready -> closing -> closed, and failed from any of the first two.
 */
export type PluginState = 'loaded' | 'setting_up' | 'ready' | 'closing' | 'closed' | 'failed';

/** Which key opens a plugin. `own`: it checks keys itself, route by route. */
export type AuthType = 'global' | 'plugin' | 'none' | 'own';

export type ReloadResult =
  | { readonly success: true }
  | { readonly success: false; readonly reason: string; readonly problems: readonly PlacedProblem[] };

/** A problem with the configuration as clients see it: paths are relative to the INI file's folder. */
export interface PlacedProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** What is wrong. */
  readonly message: string;
  /** What to write instead. */
  readonly hint: string | null;
  /** The line as it stands in the file, secrets masked. */
  readonly source: string | null;
  /** Index into `source` of what is wrong, and how many characters that is. */
  readonly caret: number;
  readonly length: number;
}

/** An event of `watch`: the state at the start, then each second and each problem as it comes. */
export type MonitorEvent =
  | ({
      readonly type: 'history';
      readonly samples: readonly Sample[];
      readonly problems: readonly SeenProblem[];
    } & WorkersView)
  /** `traffic` is by plugin, of that second. */
  | ({
      readonly type: 'sample';
      readonly sample: Sample;
      readonly traffic: Readonly<Record<string, Traffic>>;
    } & WorkersView)
  /** A new problem, or one that happened again. */
  | { readonly type: 'problem'; readonly problem: SeenProblem };

/** Which processes serve now, and how they came to. */
export interface WorkersView {
  /** The oldest generation first. Without a supervisor, this process alone. */
  readonly workers: readonly WorkerView[];
  /** Null if there was none since the server started. */
  readonly lastReload: ReloadView | null;
}

export interface WorkerView {
  readonly pid: number;
  /** `starting`: it is set up and waits for the others. `draining`: it finishes its requests and then exits. */
  readonly state: 'starting' | 'serving' | 'draining';
  /** 1 after a start. Each reload, also one that fails, counts one more. */
  readonly generation: number;
  /** Connections open at its last report, about a second ago, event streams and WebSockets included. */
  readonly connections: number;
  /** Whether it serves the address of `[admin]`, and runs no plugin. */
  readonly forOperators: boolean;
}

export interface ReloadView {
  /** When it ended, in milliseconds since the Unix epoch. */
  readonly time: number;
  /**
   * Who asked for it, each once: a signal's name, `command` for `plugin-server reload`, `watch` for a changed file, `http` for
   * a request, or `program` for the code of an embedder or a plugin.
   */
  readonly askedBy: readonly string[];
  readonly success: boolean;
  /** Of a failed one, one sentence; null of another. */
  readonly reason: string | null;
  /** The first problem of the configuration, if that was the cause. */
  readonly problem: PlacedProblem | null;
}

/** One second of the whole server, summed over all its processes. */
export interface Sample {
  /** The end of the second, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** Responses per second, and those with a status of 4xx and 5xx. */
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  /** Seconds; absent if there was no response. */
  readonly latency?: { readonly p50: number; readonly p90: number; readonly p99: number };
  /** Requests in flight at the end. */
  readonly active: number;
  /** The longest delay of an event loop, in seconds. */
  readonly delay: number;
  /** Bytes of resident memory. */
  readonly memory: number;
  /** CPU cores in use: 0.5 is half of one. */
  readonly cpu: number;
  readonly processes: number;
  /** The plugins' gauges, and the increase of their counters, by metric name. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Traffic {
  readonly requests: number;
  /** Responses with a status from 400 to 499. */
  readonly refused: number;
  /** Responses with a status from 500 on. */
  readonly failed: number;
}

/** Something that went wrong while the server ran. A problem that recurs is kept once, with a count. */
export interface ServerProblem {
  /** `request`: a 5xx response. `reload`: a failed reload. `worker`: a process that ended unexpectedly. */
  readonly kind: 'request' | 'reload' | 'worker';
  /** One sentence. */
  readonly message: string;
  /** When it happened first and last, in milliseconds since the Unix epoch. */
  readonly first: number;
  readonly last: number;
  readonly times: number;
  /** Of a request; `route` is the template, such as `/hello/:name`. */
  readonly method?: string;
  readonly plugin?: string;
  readonly route?: string;
  readonly status?: number;
  readonly code?: string;
  /** The latest of the requests, newest first. */
  readonly requestIds?: readonly string[];
  /** Where the plugin's code threw, relative to the INI file's folder: `plugins/hello/index.ts:3:7`. */
  readonly place?: string;
  /** The problems of the configuration, if they were the cause. */
  readonly problems?: readonly PlacedProblem[];
}

/** A problem that the monitor has seen. Its number stays the same when it recurs. */
export interface SeenProblem extends ServerProblem {
  readonly id: number;
}
