import type { Configuration, Position, Problem } from '../../config/index.js';
import { locateError } from '../diagnostics/locate.js';
import { shownPath } from '../diagnostics/placed-problem.js';
import { portRemedy } from '../diagnostics/port-taken.js';
import { messageOf } from '../kit/deadline.js';
import { SettingError } from '../kit/setting-error.js';
import type { PreparedPlugin } from '../prepare/plugin-parameters.js';
import { StepError } from './plugin-unit.js';

/** A plugin's failure as a problem: where in its code, and where it is configured. */
export function describeFailure(
  configuration: Configuration,
  { package_, position, line, name }: PreparedPlugin,
  error: unknown,
): Problem {
  const cause = error instanceof StepError ? error.cause : error;
  if (cause instanceof SettingError) {
    const { setting, message, hint } = cause;
    configuration.report(configuration.locate(setting) ?? position, message, hint);
    return configuration.problems.find((problem) => problem.message === message)!;
  }
  const { installedAs } = package_;
  const thrown: Position | undefined = package_.bundled ? undefined : locateError(cause, package_.folder);
  // The operator cannot change the code of an installed package, only the line that uses it.
  const inCode = installedAs === undefined ? thrown : undefined;
  const configured = inCode && line ? `, or its line, ${place(configuration, position)};` : ',';
  const taken = portRemedy(cause);
  const remedy = taken === undefined ? `correct it${configured}` : `${taken},`;
  const from = thrown && installedAs !== undefined ? ` (${place(configuration, thrown)})` : '';
  return {
    position: inCode ?? position,
    message:
      installedAs === undefined
        ? messageOf(error)
        : `${messageOf(error)}, in package "${installedAs}"${from}`,
    hint: `${remedy} or let the server start without it: ${name}=required=bool:false in [plugin_parms]`,
  };
}

/** `FILE:LINE:COLUMN`, the file without the path of the INI file's folder. */
export function place({ folder }: Configuration, { file, line, column }: Position): string {
  return `${shownPath(file, folder)}:${line}:${column}`;
}
