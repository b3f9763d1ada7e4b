/** What a Session passes to be watched. */
export interface Watched {
  /** The URL of the event stream, and the current options of the request. */
  readonly url: string;
  readonly init: () => RequestInit;
  readonly fetch: typeof fetch;
  /** The same in every tab that shows this session. */
  readonly name: string;
  /** Reads the session; rejects if it has ended. */
  read(): Promise<unknown>;
  /** Called for each event, and never after one of type `end`. */
  tell(event: Event): void;
}

interface Event {
  readonly type: string;
}

/** The parts of a page that are used here. Outside browsers, none exists. */
interface Page {
  readonly document?: { readonly visibilityState: string } & Pick<EventTarget, 'addEventListener'>;
  readonly navigator?: {
    readonly locks?: {
      request(name: string, options: { signal: AbortSignal }, held: () => Promise<void>): Promise<void>;
    };
  };
}

/**
 * Watches until the returned function is called. The tabs of one origin share one stream: the tab that holds a lock reads it and
 * tells the others. Without locks or channels, each tab has its own while it is visible. A page that the visitor leaves releases
 * everything, so that the browser can keep it in its back-forward cache.
 */
export function watch(watched: Watched): () => void {
  const { document, navigator } = globalThis as unknown as Page;
  const locks = document && typeof BroadcastChannel === 'function' ? navigator?.locks : undefined;
  const ended = new AbortController();
  let running: AbortController | undefined;

  const tell = (event: Event): void => {
    if (ended.signal.aborted) return;
    if (event.type === 'end') stop();
    watched.tell(event);
  };
  const start = (): void => {
    if (ended.signal.aborted || running !== undefined) return;
    running = new AbortController();
    if (locks === undefined) void readEvents(watched, running.signal, tell);
    else share(watched, locks, running.signal, tell);
  };
  const pause = (): void => {
    running?.abort();
    running = undefined;
  };
  const stop = (): void => {
    ended.abort();
    pause();
  };
  /** Back from the back-forward cache: the session may have ended long ago. */
  const resume = async ({ persisted }: { persisted?: boolean }): Promise<void> => {
    if (persisted !== true) return;
    try {
      await watched.read();
    } catch (error) {
      if (/^session_/.test((error as { code?: string }).code ?? '')) tell(gone);
    }
    start();
  };

  const listen = (target: unknown, type: string, listener: (event: never) => unknown): void =>
    (target as EventTarget | undefined)?.addEventListener(type, listener as never, { signal: ended.signal });
  if (document !== undefined) {
    listen(globalThis, 'pagehide', pause);
    listen(globalThis, 'pageshow', resume);
    if (locks === undefined)
      listen(document, 'visibilitychange', () => (document.visibilityState === 'hidden' ? pause() : start()));
  }
  if (locks !== undefined || document?.visibilityState !== 'hidden') start();
  return stop;
}

const gone = { type: 'end', reason: 'gone' };

/** Reads the stream in one tab at a time, in the next one when that is closed, and passes its events on to the others. */
function share(
  watched: Watched,
  locks: NonNullable<NonNullable<Page['navigator']>['locks']>,
  signal: AbortSignal,
  tell: (event: Event) => void,
): void {
  const channel = new BroadcastChannel(watched.name);
  signal.addEventListener('abort', () => channel.close());
  let latest: Event | undefined;
  channel.onmessage = ({ data }: { data: unknown }) => {
    if (data !== 'ask') tell(data as Event);
    else if (latest !== undefined) channel.postMessage(latest);
  };
  // A tab that comes later learns the state from the one that reads.
  channel.postMessage('ask');
  const pass = (event: Event) => {
    latest = event;
    channel.postMessage(event);
    tell(event);
  };
  locks.request(watched.name, { signal }, () => readEvents(watched, signal, pass)).catch(() => {});
}

/** Reads one stream after another, until the session has ended or the signal aborts. */
async function readEvents(
  { url, init, fetch }: Watched,
  signal: AbortSignal,
  tell: (event: Event) => void,
): Promise<void> {
  /** Consecutive responses of each status, and those that say nothing about the session. */
  const refusals: Record<number, number> = {};
  let failures = 0;
  while (!signal.aborted) {
    let pause = 1000 + Math.random() * 4000;
    let status = 0;
    const one = new AbortController();
    const abort = () => one.abort();
    signal.addEventListener('abort', abort);
    let silence = setTimeout(abort, longestSilence);
    try {
      // Node's types of RequestInit lack `cache`.
      const response = await fetch(
        url,
        Object.assign({ ...init(), signal: one.signal }, { cache: 'no-store' }),
      );
      ({ status } = response);
      if (status === 200) {
        failures = 0;
        for (const each of Object.keys(refusals)) delete refusals[Number(each)];
        let rest = '';
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          clearTimeout(silence);
          silence = setTimeout(abort, longestSilence);
          const blocks = (rest + value).split('\n\n');
          rest = blocks.pop()!;
          for (const block of blocks) {
            const { event, data, retry } = fieldsOf(block);
            if (retry !== undefined) pause = Number(retry);
            if (event === undefined || data === undefined) continue;
            tell({ ...JSON.parse(data), type: event });
            if (event === 'end') return;
          }
        }
      } else abort();
    } catch {
      // Whatever the error, try another stream.
    } finally {
      clearTimeout(silence);
      signal.removeEventListener('abort', abort);
    }
    // Whoever waits for the lock must not wait for a pause.
    if (signal.aborted) return;
    if (status === 401 || status === 404) {
      refusals[status] = (refusals[status] ?? 0) + 1;
      // A renewal in another tab may have come between once, not twice.
      if (refusals[status] === 2) return tell(gone);
    } else if (status !== 200) pause *= 2 ** Math.min(failures++, 4);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** Milliseconds without a byte: the server sends a comment every 15 s. */
const longestSilence = 45_000;

/** `event: end` and so on, one field per line. A comment has no name. */
function fieldsOf(block: string): Record<string, string | undefined> {
  return Object.fromEntries(block.split('\n').map((line) => /^(\w*): ?(.*)$/.exec(line)?.slice(1) ?? []));
}
