import type { LevelName } from './line.js';

/** Whether to colour what is printed there (https://no-color.org). */
export function wantsColor(toTerminal: boolean): boolean {
  return toTerminal && !process.env.NO_COLOR;
}

/** The longest name of a level, so that all messages begin at the same column. */
const LEVEL_WIDTH = 5;
const COLORS: Readonly<Record<LevelName, number>> = {
  trace: 90,
  debug: 34,
  info: 32,
  warn: 33,
  error: 31,
  fatal: 31,
};

/** A line for people, without a library: `[16:09:05.120]  INFO: serving on http://127.0.0.1:6123`. */
export function prettyLine(level: LevelName, time: Date, message: string, color: boolean): string {
  const paint = (code: number, text: string) => (color ? `\u001B[${code}m${text}\u001B[39m` : text);
  const [clock] = time.toTimeString().split(' ');
  const milliseconds = String(time.getMilliseconds()).padStart(3, '0');
  const label = paint(COLORS[level], level.toUpperCase());
  return `[${clock}.${milliseconds}] ${indent(level)}${label}: ${paint(36, message)}`;
}

/** Prints JSON lines in the same form, with their members behind the message. */
export async function prettyPrinter(color: boolean): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  const print = prettyFactory({
    colorize: color,
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
    customPrettifiers: {
      level: (level, _key, _log, { labelColorized }) => indent(String(level)) + labelColorized,
    },
  });
  return (line) => print(readable(JSON.parse(line) as Record<string, unknown>)) ?? '';
}

function indent(level: string): string {
  return ' '.repeat(Math.max(0, LEVEL_WIDTH - level.length));
}

/** The line of a request with its figures in columns: `GET    200     0.41 ms /hello/:name`. */
function readable(line: Record<string, unknown>): Record<string, unknown> {
  const { method, status, ms, route, path, msg, ...rest } = line;
  if (msg !== 'request' || typeof method !== 'string' || typeof ms !== 'number') return line;
  return { ...rest, msg: `${method.padEnd(7)} ${status} ${ms.toFixed(2).padStart(8)} ms ${route || path}` };
}
