import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second in /proc/PID/stat; Linux fixes it at 100 for user space. */
const ticksPerSecond = 100;

/**
 * Processor time that a process, all that descend from it, and their ended children have used so far, in seconds:
 * user and system, of every thread, as the kernel counts it.
 */
export function cpuSeconds(pid) {
  const table = processTable();
  let ticks = 0;
  for (const one of family(pid, table)) ticks += table.get(one).ticks;
  return ticks / ticksPerSecond;
}

/**
 * Memory of a process and all that descend from it, in bytes. `total` is the proportional set size, so that pages
 * shared within the family count once; `anonymous` leaves out files that are mapped into memory, which the system can
 * drop at will. `own` is what no other process shares, summed over the family (the unique set size, USS).
 */
export function memory(pid) {
  let total = 0;
  let anonymous = 0;
  let own = 0;
  for (const one of family(pid, processTable())) {
    const rollup = readOrNothing(`/proc/${one}/smaps_rollup`);
    total += kilobytes(rollup, 'Pss');
    anonymous += kilobytes(rollup, 'Pss_Anon');
    own += kilobytes(rollup, 'Private_Clean') + kilobytes(rollup, 'Private_Dirty');
  }
  return { total: total * 1024, anonymous: anonymous * 1024, own: own * 1024 };
}

/** The ids of a process and all that descend from it, parents first. */
export function family(pid, table = processTable()) {
  const ids = table.has(pid) ? [pid] : [];
  for (const id of ids) {
    for (const [child, { parent }] of table) if (parent === id) ids.push(child);
  }
  return ids;
}

function processTable() {
  const table = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readOrNothing(`/proc/${name}/stat`);
    if (stat === '') continue;
    // The second field is the command's name in brackets and may hold anything; the third, the state, follows it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [user, system, endedUser, endedSystem] = fields.slice(11, 15).map(Number);
    table.set(Number(name), {
      parent: Number(fields[1]),
      ticks: user + system + endedUser + endedSystem,
    });
  }
  return table;
}

function kilobytes(rollup, name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);
}

/** A process may end between the listing of /proc and this. */
function readOrNothing(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
