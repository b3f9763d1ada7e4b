/**
 * Preloaded into every process of a server by the row soak. Whoever connects to its socket PROBE_FOLDER/PID and sends `memory`
 * or `all` is told what the process holds, in JSON. With PROBE_LEAK, it keeps something on purpose, which the row must see.
 */
import { subscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { Session } from 'node:inspector';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

export interface Vitals {
  /** Bytes after a forced collection, outside of the heap included. */
  readonly heap: number;
  /** Bytes of anonymous memory. */
  readonly anonymous: number;
  /** What should be the same whenever nothing is going on; empty unless it was asked for. */
  readonly counts: Readonly<Record<string, number>>;
}

export type Leak = 'login' | 'watch' | 'reload';

const inspector = new Session();
inspector.connect();
// What V8 keeps for code is bounded by the size of the program, but moves the heap by more than a byte an operation makes in an
// hour: optimized code comes and goes, collections in a row throw away what was compiled, and a function that runs once a minute
// is compiled an hour later. So all is compiled at its first call, not optimized, and kept.
for (const flag of [
  '--expose-gc',
  '--always-sparkplug',
  '--no-lazy-feedback-allocation',
  '--no-opt',
  '--no-maglev',
  '--no-flush-bytecode',
])
  setFlagsFromString(flag);
const collect = runInNewContext('gc') as () => void;
const timeout = setTimeout(() => {}, 0);
clearTimeout(timeout);

/** Runs on the list of all living objects. */
function countIn(objects: readonly object[]) {
  let timers = 0;
  let listeners = 0;
  for (const object of objects) {
    if (object instanceof Timeout) timers += (object as { _destroyed?: boolean })._destroyed ? 0 : 1;
    else if (object instanceof EventEmitter) {
      const names = Reflect.ownKeys((object as { _events?: object })._events ?? {});
      for (const name of names) listeners += object.listenerCount(name);
    } else if (object instanceof EventTarget) {
      const events = Object.getOwnPropertySymbols(object).find(
        ({ description }) => description === 'kEvents',
      );
      const byType = events && (object as unknown as Record<symbol, Map<string, { size: number }>>)[events];
      for (const { size } of byType?.values() ?? []) listeners += size;
    }
  }
  return { timers, listeners };
}
const Timeout = timeout.constructor as new () => object;
Object.assign(globalThis, { __countIn: countIn });

/** @param withCounts takes tens of milliseconds more */
async function vitals(withCounts: boolean): Promise<Vitals> {
  for (let i = 0; i < 2; i += 1) {
    await nextTurn();
    collect();
  }
  const { heapUsed, external } = process.memoryUsage();
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    heap: heapUsed + external,
    anonymous: Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]) * 1024,
    counts: withCounts ? counts() : {},
  };
}

function counts(): Record<string, number> {
  const handles: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) handles[name] = (handles[name] ?? 0) + 1;
  return { descriptors: readdirSync('/proc/self/fd').length, ...ofAllObjects(), ...handles };
}

function ofAllObjects(): ReturnType<typeof countIn> {
  const objectGroup = 'probe';
  const { result: prototype } = post('Runtime.evaluate', {
    expression: 'Object.prototype',
    objectGroup,
  }) as Remote;
  const { objects } = post('Runtime.queryObjects', {
    prototypeObjectId: prototype.objectId,
    objectGroup,
  }) as {
    objects: { objectId: string };
  };
  const { result } = post('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: 'function () { return __countIn(this); }',
    returnByValue: true,
  }) as Remote;
  post('Runtime.releaseObjectGroup', { objectGroup });
  return result.value;
}

interface Remote {
  readonly result: { readonly objectId: string; readonly value: ReturnType<typeof countIn> };
}

/** In the same thread, the answer is there at once. */
function post(method: string, parameters: object = {}): unknown {
  let answer: unknown;
  inspector.post(method, parameters, (error, result) => {
    if (error) throw error;
    answer = result;
  });
  return answer;
}

function leak(kind: Leak): void {
  const path = kind === 'login' ? '/sessman/new' : '/sessman/watch';
  let kept: unknown;
  if (kind === 'reload') process.on('SIGHUP', () => openSync('/dev/null', 'r'));
  else {
    subscribe('http.server.request.start', (message: unknown) => {
      if ((message as { request: { url: string } }).request.url !== path) return;
      // Three words of V8's and five of its own: 64 bytes.
      if (kind === 'login') kept = { kept, a: 1, b: 2, c: 3, d: 4 };
      else process.on('never', () => {});
    });
  }
}

/** The watchdog of a worker is a thread, into which this is loaded, too. */
if (isMainThread) {
  const { PROBE_FOLDER, PROBE_LEAK } = process.env;
  process.setMaxListeners(0);
  if (PROBE_LEAK) leak(PROBE_LEAK as Leak);
  const path = join(PROBE_FOLDER!, `${process.pid}`);
  const server = createServer((socket) => {
    socket.once('data', (asked) => {
      vitals(String(asked) === 'all').then(
        (found) => socket.end(JSON.stringify(found)),
        (error: unknown) => socket.destroy(error as Error),
      );
    });
  });
  // That of a process which had this pid before.
  rmSync(path, { force: true });
  server.listen(path).unref();
}
