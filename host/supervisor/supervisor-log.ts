import type { LogSettings } from '../ipc/messages.js';
import { LogWriter } from '../log-writer.js';

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
type Level = 'info' | 'warn' | 'error';

/**
 * The supervisor's own lines, in the format and the file of the workers' log. It formats them itself, because a logging
 * library would take more memory than the rest of this process.
 */
export class SupervisorLog {
  #settings: LogSettings = { level: 'info' };
  #writer = new LogWriter(undefined);

  /** Opens the log file again, even if its path is the same: it may have been rotated. */
  configure(settings: LogSettings): void {
    this.#settings = settings;
    const before = this.#writer;
    this.#writer = open(settings.file);
    before.close();
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

  #write(level: Level, fields: object, msg: string): void {
    const { level: least, format, file } = this.#settings;
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    const color = file === undefined && process.stdout.isTTY === true;
    const time = new Date();
    const line =
      format === 'pretty' || (format === undefined && color)
        ? pretty(level, time, msg, color)
        : JSON.stringify({ level, time, ...fields, msg });
    this.#writer.write(`${line}\n`);
  }
}

/** The workers have opened the file already. Where this process cannot, its lines go to standard output. */
function open(file: string | undefined): LogWriter {
  try {
    return new LogWriter(file);
  } catch {
    return new LogWriter(undefined);
  }
}

const colors = { info: 32, warn: 33, error: 31 };

/** In the format in which pino-pretty prints the workers' lines. */
function pretty(level: Level, time: Date, message: string, color: boolean): string {
  const paint = (code: number, text: string) => (color ? `\u001B[${code}m${text}\u001B[39m` : text);
  const [clock] = time.toTimeString().split(' ');
  const milliseconds = String(time.getMilliseconds()).padStart(3, '0');
  return `[${clock}.${milliseconds}] ${paint(colors[level], level.toUpperCase())}: ${paint(36, message)}`;
}
