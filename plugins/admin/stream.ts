import { PassThrough } from 'node:stream';
import type { MonitorEvent, PluginView, Router, ServerView } from 'plugin-server';
import type { StreamEvents } from './wire.js';

export interface StreamOptions {
  readonly server: ServerView;
  /** Aborts when the server begins to drain: the streams end then, and the page connects to the next generation. */
  readonly draining: AbortSignal;
  readonly hasSessions: boolean;
}

/** Milliseconds between two looks at the plugins while somebody watches. Each look runs their readiness checks. */
const PLUGINS_INTERVAL = 5000;
/** Bytes that may wait for a slow client before its stream is cut; it then connects again and gets everything. */
const MOST_WAITING = 1_048_576;

/** `GET /api/stream`: server-sent events (html.spec.whatwg.org, section 9.2), of which wire.ts has the types. */
export function addStream(router: Router, options: StreamOptions): void {
  const { server, draining, hasSessions } = options;
  const watched = new WatchedPlugins(server);

  router.get('/api/stream', async (ctx) => {
    const plugins = await watched.read();
    const stream = new PassThrough({ highWaterMark: MOST_WAITING });
    const send = <Name extends keyof StreamEvents>(event: Name, data: StreamEvents[Name]) => {
      if (stream.writableEnded || stream.destroyed) return;
      if (stream.writableNeedDrain) stream.destroy();
      else stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    const { version, startedAt } = server;
    const stops = [
      server.watch((event) => {
        if (event.type !== 'history') return sendEvent(event, send);
        const { type: _type, ...history } = event;
        send('hello', { version, startedAt, hasSessions, plugins, ...history });
      }),
      watched.watch((changed) => send('plugins', changed)),
    ];
    const end = () => stream.end();
    draining.addEventListener('abort', end);
    stream.once('close', () => {
      draining.removeEventListener('abort', end);
      for (const stop of stops) stop();
    });
    if (draining.aborted) end();
    ctx.type = 'text/event-stream';
    // The next stream is to go to the generation that serves then.
    ctx.set('Connection', 'close');
    ctx.set('X-Accel-Buffering', 'no');
    ctx.body = stream;
  });
}

function sendEvent(
  event: Exclude<MonitorEvent, { type: 'history' }>,
  send: <Name extends keyof StreamEvents>(event: Name, data: StreamEvents[Name]) => void,
): void {
  if (event.type === 'problem') send('problem', event.problem);
  else {
    const { type: _type, ...second } = event;
    send('sample', second);
  }
}

/** Looks at the plugins regularly while somebody watches, and reports changes. */
class WatchedPlugins {
  readonly #server: ServerView;
  readonly #watchers = new Set<(plugins: readonly PluginView[]) => void>();
  #latest = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(server: ServerView) {
    this.#server = server;
  }

  async read(): Promise<readonly PluginView[]> {
    const plugins = await this.#server.plugins();
    const text = JSON.stringify(plugins);
    if (text !== this.#latest) {
      this.#latest = text;
      for (const watcher of this.#watchers) watcher(plugins);
    }
    return plugins;
  }

  watch(watcher: (plugins: readonly PluginView[]) => void): () => void {
    this.#watchers.add(watcher);
    this.#timer ??= setInterval(() => this.read(), PLUGINS_INTERVAL).unref();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }
}
