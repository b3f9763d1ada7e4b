import type { Middleware } from 'koa';
import type { Control } from './control.js';
import { checkKey, headKey, type KeyRing } from './http/api-key.js';
import { readiness } from './http/health.js';
import { HttpError } from './http/http-error.js';
import { messageOf, type PluginState, type PluginUnit } from './lifecycle.js';
import type { MonitorEvent, MonitorLink } from './monitor/monitor.js';
import { type PlacedProblem, placedProblem, shownPath } from './placed-problem.js';
import type { AuthType, PreparedPlugin } from './prepare/plugin-parameters.js';

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
  /** Lets a request with a global API key through; answers 401, or 403 while the configuration has no global key. */
  readonly requireGlobalKey: Middleware;
}

export interface PluginView {
  readonly name: string;
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

export type ReloadResult =
  | { readonly success: true }
  | { readonly success: false; readonly reason: string; readonly problems: readonly PlacedProblem[] };

export interface ServerViewOptions {
  readonly version: string;
  readonly units: readonly PluginUnit[];
  /** In the same order. */
  readonly prepared: readonly PreparedPlugin[];
  readonly monitor: MonitorLink;
  readonly control: Control | undefined;
  readonly keys: KeyRing | undefined;
  /** Paths are shown relative to this folder. */
  readonly folder: string;
}

export function serverView(options: ServerViewOptions): ServerView {
  const { version, units, prepared, monitor, control, keys, folder } = options;
  return {
    version,
    startedAt: Date.now(),
    async plugins() {
      const { checks } = await readiness(units, false, messageOf);
      return units.map((unit, i) => viewPlugin(unit, prepared[i]!, checks, folder));
    },
    watch: (listener) => monitor.watch(listener),
    async reload() {
      const outcome = await requireControl(control).reload();
      if (outcome.success) return outcome;
      const problems = outcome.problems.map((problem) => placedProblem(problem, folder));
      return { ...outcome, problems };
    },
    requireGlobalKey: (ctx, next) => {
      if (keys === undefined) throw noGlobalKey();
      checkKey(keys, headKey(ctx.req));
      return next();
    },
  };
}

/** The control routes, and whatever else is the operator's alone, are closed without a global key. */
export function noGlobalKey(): HttpError {
  return new HttpError(
    403,
    'no_global_key',
    'This is closed while no global key is set: write apikey=KEY in [auth] of the INI file.',
  );
}

export function requireControl(control: Control | undefined): Control {
  if (control !== undefined) return control;
  throw new HttpError(
    501,
    'reload_unavailable',
    'This server runs without a supervisor, which a reload needs.',
  );
}

function viewPlugin(
  unit: PluginUnit,
  { auth, package_, line, shown, position }: PreparedPlugin,
  allChecks: Readonly<Record<string, string>>,
  folder: string,
): PluginView {
  const { name, version, path, state, fault } = unit;
  const checks = [...unit.checks.keys()].map((check) => [check, allChecks[`${name}/${check}`] ?? 'ok']);
  return {
    name,
    version,
    path,
    state,
    auth,
    bundled: package_.bundled,
    configuredAt:
      line === undefined ? null : `${shownPath(position.file, folder)}:${position.line}:${position.column}`,
    ...shown,
    problem: fault === undefined ? null : placedProblem(fault, folder),
    checks: Object.fromEntries(checks),
  };
}
