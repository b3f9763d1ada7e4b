import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { family } from '../processes.mjs';

const root = '/sys/fs/cgroup';
const isUnified = existsSync(join(root, 'cgroup.controllers'));
const parent = isUnified ? root : join(root, 'memory');
const prefix = 'plugin-server-bench-';

/**
 * A memory cgroup for one server or command. Without the right to make one, it runs outside, unless there is a limit.
 *
 * @param {number} [limit] bytes of the processes and of the page cache that they fill
 * @param {string} [name] which one it is of those that exist at the same time
 */
export function enter(limit, name = 'server') {
  const folder = join(parent, `${prefix}${process.pid}-${name}`);
  try {
    removeLeftOver();
    mkdirSync(folder, { recursive: true });
    const file = join(folder, isUnified ? 'memory.max' : 'memory.limit_in_bytes');
    if (existsSync(file)) writeFileSync(file, String(limit ?? (isUnified ? 'max' : -1)));
  } catch (error) {
    if (limit !== undefined) throw new Error(`no memory cgroup can be made: ${error.message}`);
    return { command: [], memory: () => ({}), remove() {} };
  }
  const command = ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$@"`, 'sh'];
  return {
    command,
    /** Reads as much of a file as the cgroup can hold: its page cache is full from then on. */
    fill(file) {
      const [program, ...args] = [...command, 'dd', `if=${file}`, 'of=/dev/null', 'bs=1M', 'status=none'];
      execFileSync(program, [...args, `count=${Math.ceil(limit / 2 ** 20)}`]);
    },
    memory: () => memoryIn(folder),
    remove: () => removed(folder),
  };
}

/** Bytes that the processes of a cgroup have, and the page cache that they filled. */
function memoryIn(folder) {
  const read = (name) => readFileSync(join(folder, name), 'utf8');
  const stat = (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(read('memory.stat'))[1]);
  return isUnified
    ? { cgroup: Number(read('memory.current')), cgroupAnon: stat('anon'), cgroupFile: stat('file') }
    : {
        cgroup: Number(read('memory.usage_in_bytes')),
        cgroupAnon: stat('total_rss'),
        cgroupFile: stat('total_cache'),
      };
}

/** Of runs that were killed: a cgroup with a process in it stays. */
function removeLeftOver() {
  for (const name of readdirSync(parent).filter((each) => each.startsWith(prefix))) {
    try {
      rmdirSync(join(parent, name));
    } catch {}
  }
}

/** A cgroup is busy for a moment after its last process. */
async function removed(folder) {
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(folder);
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await pause(100);
    }
  }
}

/** Resident bytes of a process and all that descend from it, apart: what is theirs, and pages of files they have mapped. */
export function memoryOf(pid) {
  let [rssAnon, rssFile] = [0, 0];
  for (const one of family(pid)) {
    const status = existsSync(`/proc/${one}/status`) ? readFileSync(`/proc/${one}/status`, 'utf8') : '';
    rssAnon += kilobytes(status, 'RssAnon');
    rssFile += kilobytes(status, 'RssFile');
  }
  return { rssAnon: rssAnon * 1024, rssFile: rssFile * 1024 };
}

function kilobytes(status, name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
}
