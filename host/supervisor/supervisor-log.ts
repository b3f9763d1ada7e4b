import type { LogSettings } from '../ipc/messages.js';
import { fitLine, type LineCounts, type LineKind, NO_LINES } from '../log/line.js';
import { prettyLine, wantsColor } from '../log/pretty.js';
import { LogWriter } from '../log/writer.js';

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
type Level = 'info' | 'warn' | 'error';

/**
 * The supervisor's own lines, in the format and the file of the workers' log. It formats them itself, because a logging
 * library would take more memory than the rest of this process.
 */
export class SupervisorLog {
  #settings: LogSettings = { level: 'info' };
  #writer = this.#open(undefined);
  /** That writer, and those before it which still write. */
  readonly #writers = new Set([this.#writer]);
  /** By the writers that are closed. */
  #dropped = NO_LINES;

  /** Opens the log file again, even if its path is the same: it may have been rotated. */
  configure(settings: LogSettings): void {
    this.#settings = settings;
    const before = this.#writer;
    this.#writer = this.#open(settings.file);
    this.#writers.add(this.#writer);
    before.close().then(() => {
      this.#writers.delete(before);
      this.#dropped = sum(this.#dropped, before.dropped);
    });
  }

  info(fields: object, message: string): void {
    this.#write('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.#write('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.#write('error', fields, message);
  }

  /** Writes an audit line, at every level but `silent`. */
  audit(event: string, fields: object, message: string, level: Level = 'info'): void {
    const { level: least, auditByLevel } = this.#settings;
    if (least === 'silent' || (auditByLevel && !isWritten(level, least))) return;
    this.#print(level, { audit: true, event, ...fields }, message, 'audit');
  }

  /** Lines that could not be written. */
  get dropped(): LineCounts {
    return [...this.#writers].reduce((total, { dropped }) => sum(total, dropped), this.#dropped);
  }

  #write(level: Level, fields: object, msg: string): void {
    if (!isWritten(level, this.#settings.level)) return;
    this.#print(level, fields, msg, 'application');
  }

  #print(level: Level, fields: object, msg: string, kind: LineKind): void {
    const { format, file } = this.#settings;
    const toTerminal = file === undefined && process.stdout.isTTY === true;
    const time = new Date();
    const line =
      format === 'pretty' || (format === undefined && toTerminal)
        ? prettyLine(level, time, msg, wantsColor(toTerminal))
        : fitLine(JSON.stringify({ level, time, ...fields, msg }));
    this.#writer.write(`${line}\n`, kind, level);
  }

  /** The workers have opened the file already. Where this process cannot, its lines go to standard output. */
  #open(file: string | undefined): LogWriter {
    const onRecovered = (dropped: LineCounts) =>
      this.warn({ dropped }, 'log lines were dropped: the log could not be written');
    try {
      return new LogWriter(file, onRecovered);
    } catch {
      return new LogWriter(undefined, onRecovered);
    }
  }
}

function isWritten(level: Level, least: string): boolean {
  return levels.indexOf(level) >= levels.indexOf(least);
}

function sum(a: LineCounts, b: LineCounts): LineCounts {
  return {
    access: a.access + b.access,
    application: a.application + b.application,
    audit: a.audit + b.audit,
  };
}
