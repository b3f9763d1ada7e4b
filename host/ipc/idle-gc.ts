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
 * If a process is idle once it has started, returns the memory that only the start needed to the system.
 * V8 keeps it until its next collection, which an idle server does not need for hours. A busy server collects anyway. If it
 * comes to rest later, this would only harm: V8 would also shrink the space for young objects, and the first requests after
 * the rest waited for up to half a second.
 */
export function giveBackStartMemory(): void {
  const started = performance.eventLoopUtilization();
  setTimeout(() => {
    if (performance.eventLoopUtilization(started).utilization > restful) return;
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
  }, settled).unref();
}
