/**
 * What the page and the plugin say to each other, all of it JSON. It imports nothing, not even types of the kit: those bring
 * Node's globals into the type check of code that runs in a browser. Where stream.ts sends the kit's values,
 * tsc compares the two.
 */

/** The events of GET /admin/api/stream, by name. */
export interface StreamEvents {
  /** The first: all that there is. */
  readonly hello: Hello;
  /** Each second. */
  readonly sample: { readonly sample: Sample; readonly traffic: Readonly<Record<string, Traffic>> };
  /** A new problem, or one that happened again. */
  readonly problem: Problem;
  /** The plugins, when something about one has changed. */
  readonly plugins: readonly Plugin[];
}

export interface Hello {
  readonly version: string;
  /** When this generation was set up, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Whether there is a session manager. */
  readonly hasSessions: boolean;
  readonly samples: readonly Sample[];
  readonly problems: readonly Problem[];
  readonly plugins: readonly Plugin[];
}

/** One second of the whole server. Durations are in seconds, memory is in bytes, rates are a second. */
export interface Sample {
  /** Milliseconds since the Unix epoch. */
  readonly time: number;
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  readonly latency?: { readonly p50: number; readonly p90: number; readonly p99: number };
  readonly active: number;
  readonly delay: number;
  readonly memory: number;
  /** Cores used. */
  readonly cpu: number;
  readonly processes: number;
  /** The plugins' own gauges, and how much their counters went up, by metric name. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Traffic {
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
}

export interface Plugin {
  readonly name: string;
  readonly version: string;
  readonly path: string;
  readonly state: 'loaded' | 'setting_up' | 'ready' | 'closing' | 'closed' | 'failed';
  readonly auth: 'global' | 'plugin' | 'none' | 'own';
  readonly bundled: boolean;
  readonly configuredAt: string | null;
  readonly parameters: unknown;
  readonly sections: Readonly<Record<string, unknown>>;
  readonly problem: PlacedProblem | null;
  readonly checks: Readonly<Record<string, string>>;
}

export interface PlacedProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly hint: string | null;
  /** The line in question, and the stretch of it that is wrong. */
  readonly source: string | null;
  readonly caret: number;
  readonly length: number;
}

export interface Problem {
  /** The same however often it happens. */
  readonly id: number;
  readonly kind: 'request' | 'reload' | 'worker';
  readonly message: string;
  readonly first: number;
  readonly last: number;
  readonly times: number;
  readonly method?: string;
  readonly plugin?: string;
  readonly route?: string;
  readonly status?: number;
  readonly code?: string;
  readonly requestIds?: readonly string[];
  readonly place?: string;
  readonly problems?: readonly PlacedProblem[];
}

/** The response to POST /admin/api/reload, with 200 or 422. */
export type ReloadAnswer =
  | { readonly success: true }
  | { readonly success: false; readonly reason: string; readonly problems: readonly PlacedProblem[] };

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
}

/** The response to POST /admin/api/sessions/end and …/end_all. */
export interface EndAnswer {
  readonly ended: number;
}
