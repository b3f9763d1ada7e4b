/**
 * What the page and the plugin say to each other: all of it JSON. Only types are imported, so the page's code, which
 * runs in a browser, depends on nothing of the server's.
 */
import type { PluginView, ReloadResult, Sample, SeenProblem, Traffic, WorkersView } from 'plugin-server';

export type {
  PlacedProblem,
  PluginView as Plugin,
  Sample,
  SeenProblem as Problem,
  Traffic,
  WorkersView as Workers,
} from 'plugin-server';

/** The events of GET /admin/api/stream, by name. */
export interface StreamEvents {
  /** The first: all that there is. */
  readonly hello: Hello;
  /** Each second. */
  readonly sample: {
    readonly sample: Sample;
    readonly traffic: Readonly<Record<string, Traffic>>;
  } & WorkersView;
  /** A new problem, or one that happened again. */
  readonly problem: SeenProblem;
  /** The plugins, when something about one has changed. */
  readonly plugins: readonly PluginView[];
}

export interface Hello extends WorkersView {
  readonly version: string;
  /** When this generation was set up, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Whether there is a session manager. */
  readonly hasSessions: boolean;
  readonly samples: readonly Sample[];
  readonly problems: readonly SeenProblem[];
  readonly plugins: readonly PluginView[];
}

/** The response to POST /admin/api/reload, with 200 or 422. */
export type ReloadAnswer = ReloadResult;

/** The response to POST /admin/api/sessions/list. */
export interface SessionList {
  readonly sessions: readonly SessionEntry[];
}

/** Times are in RFC 3339. */
export interface SessionEntry {
  /** Names the session without opening it. */
  readonly handle: string;
  readonly created_at: string;
  readonly used_at: string;
  readonly expires_at: string;
  /** The application's description of the device; null if it cannot be decrypted. So are the next two. */
  readonly about?: object | null;
  readonly ip?: string | null;
  readonly user_agent?: string | null;
}

/** The response to POST /admin/api/sessions/end and …/end_all. */
export interface EndAnswer {
  readonly ended: number;
}
