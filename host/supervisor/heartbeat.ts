import type { WorkerProcess } from './worker-process.js';

/** Between two questions, in milliseconds. */
const interval = 1000;

/**
 * Asks a worker every second whether its event loop turns, and kills it when it has answered nothing for `timeout`
 * milliseconds: a worker in an endless loop holds its connections and will never serve them again.
 *
 * It counts questions rather than time, since after a machine was suspended much time has passed and nobody is at fault.
 */
export function watchHeartbeat(worker: WorkerProcess, timeout: number): void {
  const allowed = Math.ceil(timeout / interval);
  let unanswered = 0;
  const timer = setInterval(() => {
    if (unanswered >= allowed) worker.kill(`it did not answer for ${timeout / 1000} s`);
    unanswered += 1;
    worker.send({ type: 'ping' });
  }, interval);
  worker.on('message', () => {
    unanswered = 0;
  });
  worker.once('exit', () => clearInterval(timer));
}
