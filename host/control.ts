import type { Problem } from '../config/problem.js';
import type { ChannelLink } from './channels/link.js';
import type { Caller } from './kit/audit.js';
import type { ListenerLink } from './kit/plugin-listener.js';
import type { MetricReport } from './monitor/metric-report.js';
import type { MonitorLink } from './monitor/monitor.js';

/** How a reload ended. */
export type ReloadOutcome =
  | {
      readonly success: true;
      /** The process ids of old workers that did not confirm in time that they accept no further connections. */
      readonly unanswered?: readonly number[];
    }
  | {
      readonly success: false;
      /** One sentence for people. */
      readonly reason: string;
      /** The problems of the configuration, if they were the cause. */
      readonly problems: readonly Problem[];
    };

/** Who asked for a reload, for the audit line. */
export interface Asker extends Partial<Caller> {
  /** A signal's name, `plugin-server reload`, a changed file of `--watch`, a request, or the code of an embedder or a plugin. */
  readonly by: NodeJS.Signals | 'command' | 'watch' | 'http' | 'program';
}

/** A process asks for a part of the requests that a client's rate limit allows. */
export interface ShareRequest {
  readonly client: string;
  /** The limit: requests in a window. */
  readonly rate: number;
  /** Seconds. */
  readonly window: number;
  /** How many requests wait for it. */
  readonly need: number;
  /** The most to take in advance. */
  readonly most: number;
}

export interface Share {
  /** How many requests the process may serve in this window. */
  readonly tokens: number;
  /** How many are left to be taken. */
  readonly left: number;
  /** When the window began, on the machine's monotonic clock, in milliseconds. */
  readonly begun: number;
}

export interface UnusedShare extends Pick<Share, 'tokens' | 'begun'> {
  readonly client: string;
}

/** The rate limits of all processes of a server. */
export interface RateLink {
  /** Resolves to the shares, in the order of the requests. */
  take(requests: readonly ShareRequest[]): Promise<readonly Share[]>;
  giveBack(unused: readonly UnusedShare[]): void;
}

/** What the process around a Host can do for it. A Host without a supervisor, in a test or embedded, has none. */
export interface Control {
  /** Brings up a new generation from new code and configuration; settles when it serves, or has been given up. */
  reload(asker: Asker): Promise<ReloadOutcome>;
  /** Starts another process in this one's place, then drains this one. */
  retire?(reason: string): void;
  /** Why the processes retired in whose place this one is, one after the other. */
  readonly retirements?: readonly string[];
  /** The process ids of all workers, and of those that do not respond. */
  heard?(): Promise<{ readonly workers: readonly number[]; readonly silent: readonly number[] }>;
  /** The metrics of all workers together. */
  metrics(): Promise<readonly MetricReport[]>;
  /** This process holds as many connections as it may and has paused, or has space again. */
  tellCapacity?(isFull: boolean): void;
  /** Sockets that all workers share, for the listeners that plugins open. */
  readonly listeners?: ListenerLink;
  /** The channels of all workers. */
  readonly channels?: ChannelLink;
  /** Rate limits that all workers share. A Host without them counts by itself. */
  readonly rates?: RateLink;
  /** Collects the reports of all workers. A Host without one keeps its own. */
  readonly monitor?: MonitorLink;
}
