import type { ServerProblem } from '../kit/server-view.js';
import type { Log } from '../log/index.js';
import type { Metrics } from '../monitor/metrics.js';
import type { Prepared } from '../prepare/index.js';
import { accessLog } from './access-log.js';
import { Application } from './application.js';
import { Bodies, type BodyWatch } from './bodies.js';
import { corsMiddleware, unlessOwn } from './cors.js';
import { type HostNames, nameJudge } from './host-names.js';
import type { MountTable } from './mounts.js';
import type { RateLimit } from './rate-limit.js';
import type { RefusedKeys } from './refused-keys.js';
import { requestProblem } from './request-problem.js';
import type { Tracing } from './tracing.js';
import { trustedPeers } from './trusted-peers.js';

export interface ApplicationSurroundings {
  readonly log: Log;
  readonly mounts: MountTable;
  readonly hosts: HostNames | undefined;
  readonly metrics: Metrics;
  readonly rateLimit: RateLimit | undefined;
  readonly refusedKeys: RefusedKeys;
  readonly tracing: Tracing | undefined;
  readonly development: boolean;
  /** Called for each failed request. */
  readonly onProblem: (problem: ServerProblem) => void;
  readonly watchBodies: BodyWatch;
}

/** Creates the application from the settings. */
export function makeApplication(
  { configuration, settings, plugins }: Prepared,
  {
    log,
    mounts,
    hosts,
    metrics,
    rateLimit,
    refusedKeys,
    tracing,
    development,
    onProblem,
    watchBodies,
  }: ApplicationSurroundings,
): Application {
  const own = plugins.filter(({ package_ }) => !package_.bundled);
  const code = new Map(own.map(({ name, package_ }) => [name, package_.folder]));
  const around = { folder: configuration.folder, codeOf: (plugin: string) => code.get(plugin) };
  const { limits, proxy, corsOrigins, corsHeaders } = settings;
  const application = new Application({
    mounts,
    bodies: new Bodies(limits, watchBodies),
    metrics,
    accessLog: accessLog(log),
    log: log.logger,
    onFailure: (failure) => onProblem(requestProblem(failure, around)),
    proxy: proxy !== false && trustedPeers(proxy),
    maxDelay: limits.maxDelay,
    sendTimeout: limits.sendTimeout * 1000,
    judgeName: hosts && nameJudge(hosts),
    rateLimit,
    refusedKeys,
    tracing,
    development,
  });
  if (corsOrigins.length > 0) application.use(unlessOwn(mounts, corsMiddleware(corsOrigins, corsHeaders)));
  return application;
}
