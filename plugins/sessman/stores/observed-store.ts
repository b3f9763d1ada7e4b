import { HttpError, type PluginMetrics } from 'plugin-server';
import { databaseSpans } from '../../../databases/spans.js';
import { StoreError } from '../errors.js';
import type {
  Awaitable,
  Change,
  EndReason,
  Match,
  Page,
  SealedFields,
  SessionRecord,
  Store,
  StoreFile,
} from '../store.js';
import type { KeyCounts } from './reencrypt.js';
import { type ScrubState, scrubFact } from './scrubber.js';

/** Wraps a store to count and time its operations, for /metrics, and to make each a span of the request that it is for. */
export function observeStore(store: Store, metrics: PluginMetrics): Store {
  const span = databaseSpans(store.system);
  const durations = metrics.histogram({
    name: 'sessman_store_operation_duration_seconds',
    help: 'How long the session store took, by operation.',
    labelNames: ['operation'],
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  });
  const errors = metrics.counter({
    name: 'sessman_store_errors_total',
    help: 'Operations that the session store could not do, by operation and code.',
    labelNames: ['operation', 'code'],
  });
  metrics.gauge({
    name: 'sessman_sessions',
    help: 'Sessions in the store; expired ones count until they are removed.',
    // Every worker sees the same store.
    aggregator: 'max',
    collect() {
      return setOrRemove(this, () => store.count());
    },
  });

  if (store.file) observeFile(store, store.file, metrics);
  observeClock(store, metrics);

  metrics.gauge({
    name: 'sessman_records',
    help: 'Records by the fingerprint of the key that encrypts them, or plain, as they were counted last; with encryption_key.',
    labelNames: ['key'],
    aggregator: 'max',
    async collect() {
      this.reset();
      try {
        const found = await store.fact<KeyCounts>('records-by-key');
        for (const [key, count] of Object.entries(found?.counts ?? {})) this.set({ key }, count);
      } catch {
        // As long as the store cannot be reached, nothing is known.
      }
    },
  });

  /** Times an operation, without a promise where it returns none. */
  function observed<Args extends unknown[], Result>(operation: string, call: (...args: Args) => Result) {
    const run =
      span === undefined ? call : (...args: Args) => span(operation, 'sessions', () => call(...args));
    const duration = durations.labels(operation);
    const failed = (error: unknown): never => {
      // Other HttpErrors, such as data_too_large, are for the caller: the store did its work.
      if (error instanceof StoreError) errors.inc({ operation, code: error.code });
      else if (!(error instanceof HttpError)) errors.inc({ operation, code: 'internal_error' });
      throw error;
    };
    return (...args: Args): Result => {
      const started = performance.now();
      const done = () => duration.observe((performance.now() - started) / 1000);
      let result: Result;
      try {
        result = run(...args);
      } catch (error) {
        return failed(error);
      }
      if (result instanceof Promise) {
        return result.then(
          (value) => {
            done();
            return value;
          },
          (error) => failed(error),
        ) as Result;
      }
      done();
      return result;
    };
  }

  return {
    system: store.system,
    clock: store.clock,
    isRemote: store.isRemote,
    get needsSweeping() {
      return store.needsSweeping;
    },
    insert: observed('insert', (record: SessionRecord) => store.insert(record)),
    read: observed('read', (handle: string, now: number) => store.read(handle, now)),
    peek: observed('peek', (handle: string, now: number) => store.peek(handle, now)),
    write: observed('write', (match: Match, change: Change) => store.write(match, change)),
    rewrite: observed(
      'rewrite',
      (match: Match, change: Omit<Change, 'data'>, rewrite: (data: string) => string) =>
        store.rewrite(match, change, rewrite),
    ),
    remove: observed('remove', (match: Match, reason: EndReason) => store.remove(match, reason)),
    removeEach: observed('remove_each', (matches: readonly Match[], reason: EndReason) =>
      store.removeEach(matches, reason),
    ),
    list: observed('list', (userid: string, now: number, limit?: number) => store.list(userid, now, limit)),
    walk: observed('walk', (now: number, page: Page) => store.walk(now, page)),
    removeOfUser: observed('remove_of_user', (userid: string, now: number, except?: string) =>
      store.removeOfUser(userid, now, except),
    ),
    endEveryone: observed('end_everyone', () => store.endEveryone()),
    epoch: () => store.epoch(),
    everyoneAt: () => store.everyoneAt(),
    ...(store.changes && { changes: store.changes.bind(store) }),
    notes: (since) => store.notes(since),
    noteOf: (handle, now) => store.noteOf(handle, now),
    peekEach: observed('peek_each', (handles: readonly string[], now: number) =>
      store.peekEach(handles, now),
    ),
    countLive: (now) => store.countLive(now),
    sweep: observed('sweep', (now: number, limit: number) => store.sweep(now, limit)),
    isSweepDue: (now) => store.isSweepDue(now),
    lease: (duty, owner, now, until) => store.lease(duty, owner, now, until),
    raise: () => store.raise(),
    isRaised: () => store.isRaised(),
    sealed: (limit, after) => store.sealed(limit, after),
    replaceSealed: observed('replace_sealed', (before: SealedFields, after: SealedFields) =>
      store.replaceSealed(before, after),
    ),
    fact: (name) => store.fact(name),
    changeFact: (name, change) => store.changeFact(name, change),
    check: () => store.check(),
    file: store.file,
    count: () => store.count(),
    close: () => store.close(),
  };
}

function observeClock({ clock }: Store, metrics: PluginMetrics): void {
  metrics.gauge({
    name: 'sessman_clock_skew_seconds',
    help: "By how much this host's clock is ahead of the store's, by which sessions expire. Absent before the store was reached.",
    // All workers have the same clock.
    aggregator: 'first',
    collect() {
      if (clock.skew === undefined) this.remove();
      else this.set(clock.skew / 1000);
    },
  });
  metrics.gauge({
    name: 'sessman_clock_error_seconds',
    help: "How precisely this host knows the store's time: half a round trip to its server.",
    aggregator: 'max',
    collect() {
      this.set(clock.error / 1000);
    },
  });
  metrics.gauge({
    name: 'sessman_clock_doubtful',
    help: '1 while the clock of the store has jumped, so that no expired session is removed.',
    aggregator: 'max',
    collect() {
      this.set(clock.isDoubtful ? 1 : 0);
    },
  });
}

/** Where a store is closed or cannot be reached, it has no figure, and must not keep others from being told. */
async function setOrRemove(
  gauge: { set(value: number): void; remove(): void },
  read: () => Awaitable<number>,
): Promise<void> {
  try {
    gauge.set(await read());
  } catch {
    gauge.remove();
  }
}

function observeFile(store: Store, file: StoreFile, metrics: PluginMetrics): void {
  metrics.gauge({
    name: 'sessman_store_oldest_reader_seconds',
    help: "For how long the oldest reader of the embedded store, such as a backup, has been reading; the store's file grows meanwhile.",
    aggregator: 'max',
    collect() {
      this.set(file.oldestReader());
    },
  });
  metrics.gauge({
    name: 'sessman_store_file_bytes',
    help: "The size of the embedded store's file, which does not shrink by itself.",
    aggregator: 'max',
    collect() {
      return setOrRemove(this, () => file.size().bytes);
    },
  });
  metrics.gauge({
    name: 'sessman_store_free_bytes',
    help: "How much of the embedded store's file is free to be used again.",
    aggregator: 'max',
    collect() {
      return setOrRemove(this, () => file.size().free);
    },
  });
  const ofScrub = (name: string, help: string, figure: (last: NonNullable<ScrubState['last']>) => number) =>
    metrics.gauge({
      name: `sessman_store_scrub_${name}`,
      help: `${help} Absent before the first scrub is complete.`,
      aggregator: 'max',
      async collect() {
        try {
          const last = (await store.fact<ScrubState>(scrubFact))?.last;
          if (last) this.set(figure(last));
          else this.remove();
        } catch {
          this.remove();
        }
      },
    });
  ofScrub(
    'finished_timestamp_seconds',
    'When the last scrub of the embedded store was complete, in seconds since the Unix epoch.',
    ({ finished }) => finished / 1000,
  );
  ofScrub('records', 'Records that the last scrub read.', ({ records }) => records);
  ofScrub('damaged', 'Damaged records that the last scrub found.', ({ damaged }) => damaged);
  ofScrub('repaired', 'Index entries that the last scrub put right.', ({ repaired }) => repaired);
  ofScrub(
    'contested_pages',
    'Pages in use that the list of free pages offered at the last scrub: stop the server and run sessman-compact.',
    ({ contested }) => contested ?? 0,
  );
}
