import type Koa from 'koa';
import type { Asker, Control } from '../control.js';
import { placedProblem, shownPath } from '../diagnostics/placed-problem.js';
import { callerOf } from '../kit/audit.js';
import { messageOf } from '../kit/deadline.js';
import { asksKey } from '../kit/operation.js';
import type { PluginView, ServerView } from '../kit/server-view.js';
import type { PluginUnit } from '../lifecycle/plugin-unit.js';
import type { MonitorLink } from '../monitor/monitor.js';
import { checkKey, headKey, type KeyRing } from './api-key.js';
import { hostError } from './errors.js';
import { readiness } from './health.js';

export interface ServerViewOptions {
  readonly version: string;
  readonly units: readonly PluginUnit[];
  readonly monitor: MonitorLink;
  readonly control: Control | undefined;
  readonly keys: KeyRing | undefined;
  readonly isForOperators: ServerView['isForOperators'];
  /** Paths are shown relative to this folder. */
  readonly folder: string;
}

export function serverView(options: ServerViewOptions): ServerView {
  const { version, units, monitor, control, keys, folder, isForOperators } = options;
  return {
    version,
    isForOperators,
    startedAt: Date.now(),
    async plugins() {
      const { checks } = await readiness(units, false, messageOf);
      return units.map((unit) => viewPlugin(unit, checks, folder));
    },
    watch: (listener) => monitor.watch(listener),
    async reload(ctx) {
      const outcome = await requireControl(control).reload(ctx ? askerOf(ctx) : { by: 'program' });
      if (outcome.success) return outcome;
      const problems = outcome.problems.map((problem) => placedProblem(problem, folder));
      return { ...outcome, problems };
    },
    retire: (reason) => control?.retire?.(reason),
    retirements: control?.retirements ?? [],
    requireGlobalKey: asksKey(keys === undefined ? 'global (none is set)' : 'global', (ctx, next) => {
      if (keys === undefined) throw hostError('no_global_key');
      checkKey(keys, headKey(ctx.req));
      return next();
    }),
  };
}

/** The request that asks for a reload. */
export function askerOf(ctx: Koa.Context): Asker {
  return { by: 'http', ...callerOf(ctx) };
}

/** Required for a reload; a host without a supervisor lacks it. */
export function requireControl(control: Control | undefined): Control {
  if (control !== undefined) return control;
  throw hostError('reload_unavailable');
}

function viewPlugin(
  unit: PluginUnit,
  allChecks: Readonly<Record<string, string>>,
  folder: string,
): PluginView {
  const { name, version, path, state, fault } = unit;
  const { auth, package_, uses, line, shown, position } = unit.plugin;
  const checks = [...unit.checks.keys()].map((check) => [check, allChecks[`${name}/${check}`] ?? 'ok']);
  return {
    name,
    uses: uses ?? null,
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
