import type { Logger } from 'pino';
import { withDeadline } from '../kit/deadline.js';
import { HttpError } from '../kit/http-error.js';
import type { PluginUnit, ReadinessCheck } from '../lifecycle/plugin-unit.js';

/** Milliseconds that one readiness check may take. */
const CHECK_DEADLINE = 2000;

export interface Readiness {
  readonly ready: boolean;
  /** Those of the checks that keep it from being ready. */
  readonly failing: readonly (readonly [name: string, why: string])[];
  /** By `plugin` or `plugin/check`: `ok`, or why not. Those of plugins that are not required do not count. */
  readonly checks: Readonly<Record<string, string>>;
  /** What checks that pass have to say besides. */
  readonly notes: Readonly<Record<string, string>>;
}

/** Whether every plugin is ready and all their checks pass now. `describe` returns why one does not. */
export async function readiness(
  plugins: readonly PluginUnit[],
  stopping: boolean,
  describe: (error: unknown) => string = forClients,
): Promise<Readiness> {
  const checks: Record<string, string> = {};
  const notes: Record<string, string> = {};
  if (stopping) checks['plugin-server'] = 'stopping';
  const optional = new Set(plugins.filter(({ plugin }) => !plugin.required).map(({ name }) => name));
  await Promise.all(
    plugins.map(async (plugin) => {
      checks[plugin.name] = plugin.state === 'ready' ? 'ok' : plugin.state;
      if (plugin.state !== 'ready') return;
      for (const [name, check] of plugin.checks) {
        const { result, note } = await outcome(name, check, plugin.log, describe);
        checks[`${plugin.name}/${name}`] = result;
        if (note !== undefined) notes[`${plugin.name}/${name}`] = note;
      }
    }),
  );
  const failing = Object.entries(checks).filter(
    ([name, result]) => result !== 'ok' && !optional.has(name.split('/', 1)[0]!),
  );
  return { ready: failing.length === 0, failing, checks, notes };
}

/** A plugin's own words are for its operator. */
function forClients(error: unknown): string {
  return error instanceof HttpError ? error.message : 'failed';
}

async function outcome(
  name: string,
  check: ReadinessCheck,
  log: Logger,
  describe: (error: unknown) => string,
): Promise<{ readonly result: string; readonly note?: string }> {
  const late = new Error(`no answer within ${CHECK_DEADLINE / 1000} s`);
  try {
    const note = await withDeadline<unknown>(CHECK_DEADLINE, check, () => late);
    return { result: 'ok', ...(typeof note === 'string' && { note }) };
  } catch (error) {
    if (error === late) return { result: late.message };
    log.warn({ err: error, check: name }, 'readiness check failed');
    return { result: describe(error) };
  }
}
