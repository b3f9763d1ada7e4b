import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Milliseconds of a process at rest. V8 shrinks the space for young objects only where less than a megabyte a second was
 * allocated since the last collection, and a start leaves up to 8 MB of it full.
 */
const settled = 10_000;
/** A process that is busy for less than this share of its time is idle. */
const restful = 0.1;

/**
 * Once a process has started and is idle, returns the memory that only the start needed to the system.
 * V8 keeps it until its next collection, which an idle server does not need for hours. A busy server collects anyway, and
 * should not pause for this.
 */
export function giveBackStartMemory(): void {
  let last = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const { utilization } = performance.eventLoopUtilization(last);
    last = performance.eventLoopUtilization();
    if (utilization > restful) return;
    clearInterval(timer);
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
  }, settled).unref();
}
