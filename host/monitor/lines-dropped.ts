import type { LineCounts } from '../log/line.js';

/** The metric of log lines that could not be written, which the supervisor counts as well as the workers. */
export const LINES_DROPPED = {
  name: 'plugin_server_log_lines_dropped_total',
  help: 'Log lines that could not be written, by kind: access, application or audit.',
};

/** Its values. */
export function linesDropped(counts: LineCounts): { value: number; labels: { kind: string } }[] {
  return Object.entries(counts).map(([kind, value]) => ({ value, labels: { kind } }));
}
