import { readFileSync } from 'node:fs';

/** Kept for everything but connections: files being served, the store, a database, the log. */
const LARGEST_RESERVE = 1024;
const SMALLEST_RESERVE = 64;

/**
 * How many connections this process can hold before it runs out of file descriptors, with a quarter of them (64 to
 * 1,024) kept for its own work. Infinity where the system does not say.
 */
export function connectionsThatFit(): number {
  const limit = descriptorLimit();
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  const reserve = Math.min(LARGEST_RESERVE, Math.max(SMALLEST_RESERVE, Math.ceil(limit / 4)));
  return Math.max(limit - reserve, Math.floor(limit / 4), 1);
}

function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return soft === null ? undefined : Number(soft[1]);
  } catch {
    // Not Linux.
    return undefined;
  }
}
