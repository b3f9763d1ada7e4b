import { Worker } from 'node:worker_threads';

/** How often the thread checks its parent, in milliseconds. */
const interval = 1000;

/**
 * Ends this process when its supervisor is gone, from a separate thread: a worker in an endless loop does not see its
 * channel close, and would keep a core busy and hold the port.
 *
 * @param supervisor its process id; not read here, because it may have died already
 */
export function endWithSupervisor(supervisor: number): void {
  const script = `
    setInterval(() => {
      if (process.ppid !== ${supervisor}) process.kill(process.pid, 'SIGKILL');
    }, ${interval});
  `;
  const thread = new Worker(script, {
    eval: true,
    execArgv: [],
    // It allocates next to nothing.
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, codeRangeSizeMb: 4 },
  });
  thread.on('error', () => {});
  thread.unref();
}
