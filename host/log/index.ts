import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { isSecretMember } from '../../config/secrets.js';
import { openTelemetry } from '../../databases/open-telemetry.js';
import type { Audit } from '../kit/audit.js';
import { fitLine, type LevelName, type LineCounts, type LineKind, NO_LINES } from './line.js';
import { prettyPrinter, wantsColor } from './pretty.js';
import { LogWriter } from './writer.js';

export interface LogSettings {
  readonly level: string;
  /** By default, pretty on a terminal and JSON elsewhere. */
  readonly format: 'json' | 'pretty' | undefined;
  /** Absolute path; undefined for standard output. */
  readonly file: string | undefined;
  /** Audit lines are written at their level alone, like any other line. */
  readonly auditByLevel?: boolean | undefined;
}

export interface Log {
  readonly logger: Logger;
  readonly audit: Audit;
  /** Writes lines of requests at the level info, which are already JSON, bypassing pino and its masking. */
  writeAccess(lines: string): void;
  /** Writes the lines that are still in memory, at once. */
  flush(): void;
  /** Resolves when all lines have been written, or cannot be. */
  end(): Promise<void>;
  /** Lines that could not be written. */
  readonly dropped: LineCounts;
}

/** Marks the members of a line that pino writes about a request. pino does not print it. */
export const ofAccess = Symbol('access line');

/** Takes whole lines of one kind and one level. */
type Write = (lines: string, kind: LineKind, level: LevelName) => void;

/** JSON lines by pino; each with `level`, `time` (RFC 3339) and `msg`. Members that are secrets by their name are masked. Rejects with a LogFileError. */
export async function openLog(settings: LogSettings, destination?: DestinationStream): Promise<Log> {
  if (destination !== undefined) return logTo(settings, (lines) => destination.write(lines));
  const writer = openWriter(settings.file, (dropped) =>
    log.logger.warn({ dropped }, 'log lines were dropped: the log could not be written'),
  );
  const toTerminal = settings.file === undefined && process.stdout.isTTY === true;
  const format = settings.format ?? (toTerminal ? 'pretty' : 'json');
  const print = format === 'pretty' ? await prettyPrinter(wantsColor(toTerminal)) : undefined;
  const write: Write = (lines, kind, level) => {
    writer.write(print === undefined ? lines : eachLine(lines, print), kind, level);
  };
  const log = logTo(settings, write, writer);
  return log;
}

function eachLine(lines: string, print: (line: string) => string): string {
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map(print)
    .join('');
}

/** The log file cannot be written. The message names it. */
export class LogFileError extends Error {
  override readonly name = 'LogFileError';

  constructor(file: string, cause: NodeJS.ErrnoException) {
    super(`the log file ${file} cannot be written (${cause.code ?? cause.message})`, { cause });
  }
}

/** Finds a file that cannot be written now, when somebody can do something about it. */
function openWriter(file: string | undefined, onRecovered: (dropped: LineCounts) => void): LogWriter {
  try {
    if (file !== undefined) mkdirSync(dirname(file), { recursive: true });
    return new LogWriter(file, onRecovered);
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

function logTo({ level, auditByLevel }: LogSettings, write: Write, writer?: LogWriter): Log {
  const options: LoggerOptions = {
    level,
    base: undefined,
    timestamp: () => `,"time":"${timestamp()}"`,
    ...traceMixin(),
    formatters: { level: (label) => ({ level: label }), log: masked },
  };
  const stream = new PinoStream(write);
  const logger = pino(options, stream);
  const keepsInfo = auditByLevel === true || level === 'silent' || logger.isLevelEnabled('info');
  const auditor = keepsInfo ? logger : pino({ ...options, level: 'info' }, stream);
  return {
    logger,
    audit: (event, about, message) => auditor.info({ audit: true, event, ...about }, message),
    writeAccess: (lines) => write(lines, 'access', 'info'),
    flush: () => writer?.flush(),
    end: async () => writer?.end(),
    get dropped() {
      return writer?.dropped ?? NO_LINES;
    },
  };
}

/** With this member, pino sets `lastLevel` and `lastObj` before each line. */
const withMetadata: unique symbol = Symbol.for('pino.metadata');

/** On a server that traces: the ids of the active span for each line, those of plugins included. */
function traceMixin(): Pick<LoggerOptions, 'mixin'> {
  const telemetry = openTelemetry();
  if (telemetry === undefined) return {};
  return {
    mixin() {
      const ids = telemetry.spanOf(telemetry.active())?.spanContext();
      return ids === undefined ? {} : { trace_id: ids.traceId, span_id: ids.spanId };
    },
  };
}

class PinoStream implements DestinationStream {
  readonly [withMetadata] = true;
  lastLevel = 0;
  lastObj: { readonly audit?: unknown; readonly [ofAccess]?: unknown } = {};
  readonly #write: Write;

  constructor(write: Write) {
    this.#write = write;
  }

  write(line: string): void {
    const { audit, [ofAccess]: access } = this.lastObj;
    const kind = audit === true ? 'audit' : access === true ? 'access' : 'application';
    this.#write(`${fitLine(line.slice(0, -1))}\n`, kind, pino.levels.labels[this.lastLevel] as LevelName);
  }
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
