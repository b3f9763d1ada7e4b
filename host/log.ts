import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export interface LogSettings {
  readonly level: string;
  /** Undefined: pretty on a terminal, else JSON. */
  readonly format: 'json' | 'pretty' | undefined;
  /** Absolute path; undefined for standard output. */
  readonly file: string | undefined;
}

export interface Log {
  readonly logger: Logger;
  /** Writes lines that are JSON already, past pino and its redaction. */
  write(lines: string): void;
  /** Writes out what is still in memory. */
  flush(): void;
}

/** JSON lines by pino; each with `level`, `time` (RFC 3339) and `msg`. Members that are secrets by their name are masked. Rejects with a LogFileError. */
export async function openLog(settings: LogSettings, destination?: DestinationStream): Promise<Log> {
  const options: LoggerOptions = {
    level: settings.level,
    base: undefined,
    timestamp: () => `,"time":"${timestamp()}"`,
    formatters: { level: (label) => ({ level: label }), log: masked },
  };
  if (destination !== undefined) return logTo(destination, options);
  if (settings.file !== undefined) tryToWrite(settings.file);
  const toTerminal = settings.file === undefined && process.stdout.isTTY === true;
  if ((settings.format ?? (toTerminal ? 'pretty' : 'json')) === 'pretty') {
    const { default: pretty } = await import('pino-pretty');
    const stream = pretty({
      colorize: toTerminal,
      destination: settings.file ?? 1,
      sync: true,
      translateTime: 'SYS:HH:MM:ss.l',
    });
    return logTo(stream, options);
  }
  // Asynchronous without a minimum: lines go out at once, and those that come while a write is on its way go together.
  const stream = pino.destination({ dest: settings.file ?? 1, sync: false, minLength: 0 });
  return logTo(stream, options, () => {
    try {
      stream.flushSync();
    } catch {
      // The stream had not been opened yet: there is nothing in it.
    }
  });
}

/** The log file cannot be written. The message says which it is. */
export class LogFileError extends Error {
  override readonly name = 'LogFileError';

  constructor(file: string, cause: NodeJS.ErrnoException) {
    super(`the log file ${file} cannot be written (${cause.code ?? cause.message})`, { cause });
  }
}

/** Found out now, since the stream would tell only later, when nobody can do anything about it. */
function tryToWrite(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    closeSync(openSync(file, 'a'));
  } catch (error) {
    throw new LogFileError(file, error as NodeJS.ErrnoException);
  }
}

let time = 0;
let timeText = '';

/** The time in RFC 3339. Many lines are of one millisecond. */
export function timestamp(): string {
  const now = Date.now();
  if (now !== time) {
    time = now;
    timeText = new Date(now).toISOString();
  }
  return timeText;
}

function logTo(stream: DestinationStream, options: LoggerOptions, flush = () => {}): Log {
  return { logger: pino(options, stream), write: (lines) => stream.write(lines), flush };
}

const SECRET =
  /^(?:authorization|(?:set-)?cookie|x-custom-auth|x-session-id|api_?key|password|passwd|secret|token|session_?id)$/i;
const DEEPEST = 4;

/** The same object where nothing in it is a secret by its name, else a copy with `[masked]` in those places. */
function masked(object: Record<string, unknown>, depth = 0): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in object) {
    const value = object[key];
    let shown = value;
    if (SECRET.test(key)) shown = '[masked]';
    else if (depth < DEEPEST && isPlainObject(value)) shown = masked(value, depth + 1);
    if (shown !== value) {
      copy ??= { ...object };
      copy[key] = shown;
    }
  }
  return copy ?? object;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Error);
}
