import { join } from 'node:path';
import { type AllowOriginsOptions, definePlugin, type PluginKeys } from 'plugin-server';
import { serveClient } from './client/serve.js';
import { errors } from './errors.js';
import { Access } from './http/access.js';
import { addCheck } from './http/check.js';
import { SessionCookie } from './http/cookie.js';
import { checkCookie } from './http/cookie-check.js';
import { originRule } from './http/origin.js';
import { addRoutes, type CookieMode } from './http/routes.js';
import { noVisitorCalls, visitorCalls } from './http/visitors.js';
import { addWatch } from './http/watch.js';
import { sessionService } from './service.js';
import { Sessions } from './sessions.js';
import { type Settings, settingsSchema } from './settings.js';
import { Feed } from './stores/feed.js';
import type { NewsMessage } from './stores/host-news.js';
import { checkClock, checkStore, openStore } from './stores/index.js';
import { Keyring } from './stores/keyring.js';
import { observeStore } from './stores/observed-store.js';
import { runReencryption } from './stores/reencrypt.js';
import { contestedSentence, runScrubber } from './stores/scrubber.js';
import { runSweeper } from './stores/sweeper.js';

/** sessman, the session manager: docs/sessman.md. */
export default definePlugin({
  name: 'sessman',
  config: settingsSchema,
  check: checkCookie,
  async setup(context) {
    const { config, router, log, metrics, signal, dataFolder, resolvePath, onCheck, onClose } = context;
    const keys = config.encryption_key && new Keyring(config.encryption_key);
    const place = {
      folder: join(dataFolder, 'store'),
      resolvePath,
      settingOf: (key: string) => ['plugin_parms', context.name, key],
      log,
      isReadOnly:
        context.server.retirements.filter((each) => each === errors.store_failed.message).length > 1,
      // It can never work again in this process. Readiness says so, too.
      onFailed: (error: Error) => {
        log.error({ err: error }, error.message);
        context.server.retire(error.message);
      },
      retire: (reason: string) => context.server.retire(reason),
    };
    const opened = await openStore(config, place, keys);
    onClose(() => opened.close());
    onCheck('store', () => checkStore(opened));
    onCheck('clock', () => checkClock(opened.clock, config.max_clock_skew));

    const store = observeStore(opened, metrics);
    const expired = metrics.counter({
      name: 'sessman_sessions_expired_total',
      help: 'Expired sessions that this server removed from the store; MongoDB removes them by itself.',
    });
    const sweeping = runSweeper(store, {
      signal,
      delay: config.removal_delay * 1000,
      onSwept: (count) => expired.inc(count),
      onError: (error) => log.warn({ err: error }, 'expired sessions could not be removed from the store'),
    });
    onClose(() => sweeping);
    const reencryption = runReencryption(store, keys, {
      signal,
      onError: (error) => log.warn({ err: error }, 'sessions cannot be encrypted again for now'),
    });
    onClose(() => reencryption);

    const scrubbing = runScrubber(store, {
      signal,
      onError: (error) => log.warn({ err: error }, 'the session store cannot be scrubbed for now'),
      onContested: (pages) => log.error({ pages }, contestedSentence(pages)),
    });
    onClose(() => scrubbing);

    const made = metrics.counter({ name: 'sessman_sessions_made_total', help: 'Sessions created.' });
    const ended = metrics.counter({
      name: 'sessman_sessions_ended_total',
      help: 'Sessions ended before they expired: by end, by end_all, by a login, or over the limit of sessions of one user.',
      labelNames: ['reason'],
    });
    const limits = {
      idleTimeout: config.session_ttl,
      absoluteTimeout: config.session_max_age,
      maxData: config.max_data,
      maxPerUser: config.max_sessions_per_user,
      record: config.record,
    };
    const sessions = new Sessions(store, limits, {
      observer: {
        made: () => made.inc(),
        ended: (reason, count) => ended.inc({ reason }, count),
        surplusRemains: (error) =>
          log.warn({ err: error }, 'sessions over max_sessions_per_user could not be ended'),
      },
    });
    const mode = config.cookie ? cookieMode(context, sessions) : undefined;
    addRoutes(router, sessions, context, mode);
    addCheck(context, sessions, mode?.cookie);
    const feed = new Feed(store, {
      signal,
      onError: (error) => log.warn({ err: error }, 'changes of sessions cannot be reported for now'),
      channel: store.isRemote ? context.channel<NewsMessage>('news', { reach: 'host' }) : undefined,
    });
    onClose(() => feed.stopped);
    addWatch(context, { sessions, feed, cookie: mode?.cookie, origins: mode?.origins });
    serveClient(context);
    const calls = sessionService(sessions, feed);
    return {
      ...calls,
      ...(mode === undefined ? noVisitorCalls : visitorCalls({ ...mode, sessions, calls })),
    };
  },
});

/** Sessions for browsers: the cookie is a credential, and sessman checks keys itself. */
function cookieMode(
  { config, https, takeKeys, allowOrigins }: CookieContext,
  sessions: Sessions,
): CookieMode {
  const cookie = new SessionCookie(config, https, () => sessions.now());
  const keys = takeKeys();
  const origins = originRule(config.cookie_origins);
  allowOrigins(config.cookie_origins, { hasCookie: (ctx) => cookie.read(ctx).length > 0 });
  const access = new Access({ sessions, cookie, keys, origins, data: config.cookie_data });
  return { cookie, access, origins, key: keys.areSet ? keys.kind : `${keys.kind} (none is set)` };
}

interface CookieContext {
  readonly config: Settings;
  readonly https: boolean;
  takeKeys(): PluginKeys;
  allowOrigins(origins: readonly string[], options: AllowOriginsOptions): void;
}
