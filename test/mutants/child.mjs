/**
 * Loaded into each child process of a test (runner.mjs says so in NODE_OPTIONS): notes which mutants a child has run, and for
 * which test, and ends one that a mutant keeps from ending or from ceasing to fork.
 */
import { appendFileSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';

const { MUTANTS_HITS: file, MUTANTS_TEST: test, MUTANTS_DEPTH: depth = '0' } = process.env;

/** Milliseconds: a child whose thread is in a loop, or whose parent is gone, must not disturb the next tests. */
const longest = 20_000;
/** Children of children, where one is usual. */
const deepest = 3;

if (isMainThread) {
  if (Number(depth) === deepest) process.exit(1);
  process.env.MUTANTS_DEPTH = String(Number(depth) + 1);
  if (test !== undefined) {
    process.on('exit', () => {
      const hits = globalThis.__stryker__?.mutantCoverage?.static;
      if (hits) appendFileSync(file, `${JSON.stringify({ test, hits })}\n`);
    });
  }
  new Worker(`setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${longest})`, { eval: true }).unref();
}
