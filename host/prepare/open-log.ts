import type { DestinationStream, Logger } from 'pino';
import { ConfigError, type Configuration, childAt, formatProblem } from '../../config/index.js';
import { type Log, LogFileError, openLog } from '../log/index.js';
import type { Settings } from './settings.js';

export interface LogOptions {
  /** In place of `[log] level` and `file`. */
  readonly logLevel?: string;
  readonly logFile?: string;
  /** For tests, whose output they would spoil: audit lines are written at their level alone. */
  readonly auditByLevel?: boolean;
  /** Receives log lines, in place of standard output and `[log] file`. */
  readonly logDestination?: DestinationStream;
}

/** A log file that the INI file names and that cannot be written is a problem at that place. */
export async function openLogOf(
  { configuration, settings }: { readonly configuration: Configuration; readonly settings: Settings },
  options: LogOptions,
): Promise<Log> {
  const { logLevel: level = settings.log.level, logFile: file = settings.log.file } = options;
  try {
    return await openLog(
      { ...settings.log, level, file, auditByLevel: options.auditByLevel },
      options.logDestination,
    );
  } catch (error) {
    if (!(error instanceof LogFileError) || options.logFile !== undefined) throw error;
    const section = configuration.section('log')!;
    configuration.report(
      childAt(section, 'file') ?? section,
      error.message,
      'write the path of another file, or make this one writable',
    );
    throw new ConfigError(configuration.problems);
  }
}

/** The level says that they are warnings. */
export function logWarnings({ warnings, folder }: Configuration, log: Logger): void {
  for (const { position, message, hint } of warnings) {
    log.warn(formatProblem({ position, message, ...(hint !== undefined && { hint }) }, { cwd: folder }));
  }
}
