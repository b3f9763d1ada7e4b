import type { Middleware } from 'koa';

/** The server as its operator sees it, all its processes together. */
export interface ServerView {
  /** The host's version. */
  readonly version: string;
  /** When this generation of it was set up, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Each plugin in the order of set-up, its readiness checks run now. */
  plugins(): Promise<readonly PluginView[]>;
  /**
   * Tells the listener of the last minutes and the latest problems at once, then of each second and each problem as it
   * comes. The function that it gives ends that.
   */
  watch(listener: (event: MonitorEvent) => void): () => void;
  /**
   * Reads code and configuration again; settles when the new generation serves or has been given up.
   * Rejects with an HttpError of 501 in a server without a supervisor.
   */
  reload(): Promise<ReloadResult>;
  /**
   * Has this process replaced when it cannot do its work any more, by a resource that only a new process can open, say: a
   * new one is started, then this one finishes its requests and exits. A server without a supervisor goes on.
   */
  retire(reason: string): void;
  /** Lets a request with a global API key through; answers 401, or 403 while the configuration has no global key. */
  readonly requireGlobalKey: Middleware;
}

export interface PluginView {
  readonly name: string;
  /** What its line says it runs: another plugin's name, or a package's. Null for the plugin of its own name. */
  readonly uses: string | null;
  readonly version: string;
  /** `/sessman` */
  readonly path: string;
  readonly state: PluginState;
  /** Which key it needs; `own`: it asks for keys itself. */
  readonly auth: AuthType;
  /** Whether it comes with the server. */
  readonly bundled: boolean;
  /** Where it is configured: `plugin-server.ini:12:1`; null where it is not. */
  readonly configuredAt: string | null;
  /** Its parameters as they are written, and the sections that it asked for, secrets masked. */
  readonly parameters: unknown;
  readonly sections: Readonly<Record<string, unknown>>;
  /** Why it is failed. */
  readonly problem: PlacedProblem | null;
  /** Its readiness checks by name: `ok`, or why not. */
  readonly checks: Readonly<Record<string, string>>;
}

/**
 * loaded -> setting_up -> ready -> closing -> closed, and failed from any of the first two.
 */
export type PluginState = 'loaded' | 'setting_up' | 'ready' | 'closing' | 'closed' | 'failed';

/** Which key opens a plugin. `own`: it asks for keys itself, route by route. */
export type AuthType = 'global' | 'plugin' | 'none' | 'own';

export type ReloadResult =
  | { readonly success: true }
  | { readonly success: false; readonly reason: string; readonly problems: readonly PlacedProblem[] };

/** A problem with the configuration as clients are told of it: no path but one relative to the INI file's folder. */
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

/** What a watcher is told: what there is at the start, then each second and each problem as it comes. */
export type MonitorEvent =
  | {
      readonly type: 'history';
      readonly samples: readonly Sample[];
      readonly problems: readonly SeenProblem[];
    }
  /** `traffic` is by plugin, of that second. */
  | { readonly type: 'sample'; readonly sample: Sample; readonly traffic: Readonly<Record<string, Traffic>> }
  /** A new problem, or one that happened again. */
  | { readonly type: 'problem'; readonly problem: SeenProblem };

/** One second of the whole server, all its processes together. */
export interface Sample {
  /** The end of it, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** Answers a second, and those of them with a status of 4xx and 5xx. */
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  /** Seconds; absent while nothing was answered. */
  readonly latency?: { readonly p50: number; readonly p90: number; readonly p99: number };
  /** Requests in flight at the end. */
  readonly active: number;
  /** Seconds that an event loop was late, at worst. */
  readonly delay: number;
  /** Bytes of resident memory. */
  readonly memory: number;
  /** Cores used: 0.5 is half of one. */
  readonly cpu: number;
  readonly processes: number;
  /** The plugins' own gauges, and how much their counters went up, by metric name. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Traffic {
  readonly requests: number;
  /** Those answered with a status from 400 to 499. */
  readonly refused: number;
  /** Those answered with a status from 500 on. */
  readonly failed: number;
}

/** Something that went wrong while the server ran; what happens again and again is one problem with a count. */
export interface ServerProblem {
  /** `request`: an answer of 5xx. `reload`: one that was given up. `worker`: a process that ended unasked. */
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
  /** What is wrong with the configuration, where that was the cause. */
  readonly problems?: readonly PlacedProblem[];
}

/** A problem that the monitor has seen, under a number that it keeps however often it happens. */
export interface SeenProblem extends ServerProblem {
  readonly id: number;
}
