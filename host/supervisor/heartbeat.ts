import type { WorkerProcess } from './worker-process.js';

/** Between two pings, in milliseconds. */
const interval = 1000;

/**
 * Pings a worker every second and kills it when it has not responded for `timeout` milliseconds: a worker in an endless
 * loop holds its connections and will never serve them.
 *
 * Pings are counted, not time: after a suspended machine wakes, much time has passed although every worker is healthy.
 */
export function watchHeartbeat(worker: WorkerProcess, timeout: number): void {
  const allowed = Math.ceil(timeout / interval);
  let unanswered = 0;
  const timer = setInterval(() => {
    if (unanswered >= allowed) worker.kill(`no response for ${timeout / 1000} s`);
    unanswered += 1;
    worker.send({ type: 'ping' });
  }, interval);
  worker.on('message', () => {
    unanswered = 0;
  });
  worker.once('exit', () => clearInterval(timer));
}
