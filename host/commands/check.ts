import { ConfigError, formatProblem, type Problem } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { prepare } from '../prepare/index.js';
import { type IniFile, readerOf } from '../prepare/ini-file.js';
import type { PreparedPlugin } from '../prepare/plugin-parameters.js';

/** Reads everything and serves nothing: true when all is right, else every problem has been printed. */
export async function check(ini: IniFile): Promise<boolean> {
  try {
    const { plugins, configuration } = await prepare({ iniFile: ini.path, ...readerOf(ini) });
    const warnings = [...configuration.warnings, ...plugins.flatMap(leftOut)];
    for (const warning of warnings) process.stderr.write(`${formatProblem(warning)}\n\n`);
    const count = plugins.length === 1 ? '1 plugin' : `${plugins.length} plugins`;
    process.stdout.write(`configuration ok: ${count}${counted(warnings.length)}; setup was not run\n`);
    if (process.stdout.isTTY) process.stdout.write('Serve it:  plugin-server start\n');
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(formatProblems('the configuration is not valid', error));
    return false;
  }
}

/** What keeps a plugin with `required=off` from starting. */
function leftOut({ name, fault }: PreparedPlugin): readonly Problem[] {
  if (fault === undefined) return [];
  return [
    { ...fault, message: `${fault.message} (the server starts without "${name}")`, severity: 'warning' },
  ];
}

function counted(warnings: number): string {
  return warnings === 0 ? '' : `, ${warnings} warning${warnings === 1 ? '' : 's'}`;
}
