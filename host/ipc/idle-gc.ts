import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Milliseconds after the last collection at which V8 is ready to shrink the space for young objects, and some more. */
const settled = 5000;
/** The share of its time that a process at rest is at work at most. */
const restful = 0.1;

/**
 * Once a process has started and is at rest, gives the memory that only its start needed back to the system: a fifth of
 * all. V8 would keep it until it next has reason to collect, which a server at rest has not for hours; one at work has,
 * and needs no pause in the middle of it.
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
