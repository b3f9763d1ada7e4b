import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { runProgram } from './process.js';

/**
 * Makes system calls of a running process fail, which is an error of the disk to that process, until the returned process is
 * ended. Resolves once it has begun.
 *
 * @param calls names with commas between: `pwrite64,pwritev`
 * @param how as strace's option `inject` takes it
 */
export async function failCalls(pid: number, calls: string, how = 'error=EIO'): Promise<ChildProcess> {
  const args = ['-f', '-p', `${pid}`, '-o', '/dev/null', '-e', `trace=${calls}`];
  const tracer = spawn('strace', [...args, '-e', `inject=${calls}:${how}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await Promise.race([once(tracer.stderr, 'data'), once(tracer, 'exit')]);
  return tracer;
}

/** Whether it works on this machine. */
export async function canFailCalls(): Promise<boolean> {
  const works = await runProgram('strace', ['-o', '/dev/null', 'true'], '/').catch(() => undefined);
  return works?.status === 0;
}
