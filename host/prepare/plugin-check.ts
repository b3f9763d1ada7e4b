import type { Configuration, Located, Position } from '../../config/index.js';
import { locateError } from '../diagnostics/locate.js';
import { messageOf, withDeadline } from '../kit/deadline.js';
import type { PreparedPlugin } from './plugin-parameters.js';
import { isHttps, type Settings } from './settings.js';

interface Finding {
  readonly at: Located | Position;
  readonly message: string;
  readonly hint: string | undefined;
}

/**
 * Runs a plugin's `check`, within `deadline` milliseconds. What it reports is a problem of the configuration, or if the plugin
 * is not required, a fault of the plugin.
 */
export async function checkPlugin(
  configuration: Configuration,
  plugin: PreparedPlugin,
  settings: Settings,
  deadline: number,
): Promise<PreparedPlugin> {
  const findings = await runCheck(configuration, plugin, settings, deadline);
  const [first] = findings;
  if (first === undefined) return plugin;
  if (plugin.required) {
    for (const { at, message, hint } of findings) configuration.report(at, message, hint);
    return plugin;
  }
  const { at, message, hint } = first;
  const position = 'line' in at ? at : at.position;
  return { ...plugin, fault: { position, message, ...(hint !== undefined && { hint }) } };
}

async function runCheck(
  configuration: Configuration,
  { name, auth, definition, parameters, sections, package_, position }: PreparedPlugin,
  settings: Settings,
  deadline: number,
): Promise<readonly Finding[]> {
  const { check } = definition;
  if (check === undefined) return [];
  const findings: Finding[] = [];
  const context = {
    config: parameters as never,
    sections: sections as never,
    name,
    auth,
    https: isHttps(settings),
    hosts: typeof settings.hosts === 'object' ? settings.hosts : [],
    resolvePath: (path: string) => configuration.resolvePath(path),
    report: (setting: readonly (string | number)[], message: string, hint?: string) => {
      findings.push({ at: configuration.locate(setting) ?? position, message, hint });
    },
    warn: (setting: readonly (string | number)[], message: string, hint?: string) => {
      configuration.warn(configuration.locate(setting) ?? { position, length: 0 }, message, hint);
    },
  };
  try {
    const late = () => new Error(`it did not finish within ${deadline / 1000} s`);
    await withDeadline(deadline, () => check(context), late);
  } catch (error) {
    findings.push({
      at: locateError(error, package_.folder) ?? position,
      message: `the check of plugin "${name}" failed: ${messageOf(error)}`,
      hint: 'correct the plugin',
    });
  }
  return findings;
}
