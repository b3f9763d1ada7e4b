import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { isSecretMember } from '../config/secrets.js';
import { LogWriter } from './log-writer.js';

export interface LogSettings {
  readonly level: string;
  /** By default, pretty on a terminal and JSON elsewhere. */
  readonly format: 'json' | 'pretty' | undefined;
  /** Absolute path; undefined for standard output. */
  readonly file: string | undefined;
}

export interface Log {
  readonly logger: Logger;
  /** Writes lines that are already JSON, bypassing pino and its masking. */
  write(lines: string): void;
  /** Writes the lines that are still in memory, at once. */
  flush(): void;
  /** Resolves when all lines have been written, or cannot be. */
  end(): Promise<void>;
  /** Lines that could not be written. */
  readonly dropped: number;
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
  const writer = openWriter(settings.file);
  const toTerminal = settings.file === undefined && process.stdout.isTTY === true;
  const format = settings.format ?? (toTerminal ? 'pretty' : 'json');
  return logTo(format === 'pretty' ? await prettyInto(writer, toTerminal) : writer, options, writer);
}

/** Lines as pino-pretty prints them. */
async function prettyInto(writer: LogWriter, colorize: boolean): Promise<DestinationStream> {
  const { prettyFactory } = await import('pino-pretty');
  const print = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l' });
  return {
    write(lines) {
      // Several lines may arrive together.
      for (const line of lines.split('\n')) {
        if (line !== '') writer.write(print(line) ?? '');
      }
    },
  };
}

/** The log file cannot be written. The message names it. */
export class LogFileError extends Error {
  override readonly name = 'LogFileError';

  constructor(file: string, cause: NodeJS.ErrnoException) {
    super(`the log file ${file} cannot be written (${cause.code ?? cause.message})`, { cause });
  }
}

/** Finds a file that cannot be written now, when somebody can do something about it. */
function openWriter(file: string | undefined): LogWriter {
  try {
    if (file !== undefined) mkdirSync(dirname(file), { recursive: true });
    return new LogWriter(file);
  } catch (error) {
    throw new LogFileError(file!, error as NodeJS.ErrnoException);
  }
}

let time = 0;
let timeText = '';

/** The time as RFC 3339 text, kept for the many lines of one millisecond. */
export function timestamp(): string {
  const now = Date.now();
  if (now !== time) {
    time = now;
    timeText = new Date(now).toISOString();
  }
  return timeText;
}

function logTo(stream: DestinationStream, options: LoggerOptions, writer?: LogWriter): Log {
  return {
    logger: pino(options, stream),
    write: (lines) => stream.write(lines),
    flush: () => writer?.flush(),
    end: async () => writer?.end(),
    get dropped() {
      return writer?.dropped ?? 0;
    },
  };
}

const DEEPEST = 4;

/** The same object if no member has the name of a secret, else a copy with `[masked]` in its place. */
function masked(object: Record<string, unknown>, depth = 0): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in object) {
    const value = object[key];
    let shown = value;
    if (isSecret(key) && !isCount(key, value)) shown = '[masked]';
    else if (depth < DEEPEST && isPlainObject(value)) shown = masked(value, depth + 1);
    if (shown !== value) {
      copy ??= { ...object };
      copy[key] = shown;
    }
  }
  return copy ?? object;
}

/** `tokens: 7` is a count, not a secret. */
function isCount(key: string, value: unknown): boolean {
  return (typeof value === 'number' || typeof value === 'boolean') && /s$/i.test(key);
}

/** Names repeat from line to line, and checking one takes a while. */
const judged = new Map<string, boolean>();
const MOST_JUDGED = 1000;

function isSecret(key: string): boolean {
  const known = judged.get(key);
  if (known !== undefined) return known;
  const secret = isSecretMember(key);
  if (judged.size >= MOST_JUDGED) judged.clear();
  judged.set(key, secret);
  return secret;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Error);
}
