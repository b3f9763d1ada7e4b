import type { Session, Sessions } from '../sessions.js';
import type { Awaitable } from '../store.js';
import { listJson } from './answer.js';
import { conflicting, type Given, missing, type ParameterName, type Takes } from './parameters.js';

/** One call of the session manager: its route, what it takes, and what it does. */
export interface Call {
  readonly path: string;
  readonly methods: readonly ('get' | 'post')[];
  readonly takes: Takes;
  /** Whether `session_id` says which session is meant, so that it may come in a header or cookie as well. */
  readonly namesSession: boolean;
  /** Changes something: in cookie mode the origin of the page that sends it is checked. */
  readonly changes: boolean;
  /** What becomes of the cookie in cookie mode. */
  readonly cookie?: 'set' | 'clear';
  readonly answers: 'session' | 'list' | 'count';
  readonly summary: string;
  readonly description: string;
  run(sessions: Sessions, given: Given<Takes>): Awaitable<Session | object>;
}

/** All calls. A new one is one more entry. */
export const calls: readonly Call[] = [
  call({
    path: 'new',
    methods: ['post'],
    takes: { userid: 'required', data: 'optional', session_id: 'optional' },
    namesSession: false,
    changes: true,
    cookie: 'set',
    answers: 'session',
    summary: 'Make a session',
    description:
      'Makes a session of the user. Its id is made here, or is `session_id`, for callers that make ids of their own: 32 bytes in base64url, random or a SHA-256.',
    run: (sessions, { userid, data, session_id }) => sessions.create(userid, data, session_id),
  }),
  call({
    path: 'get',
    methods: ['get', 'post'],
    takes: { session_id: 'required', userid: 'with_visible_id' },
    namesSession: true,
    changes: false,
    answers: 'session',
    summary: 'Read a session',
    description:
      'Reads a session, and moves no expiry. `userid` may be left out where the session id comes in the header X-Session-Id.',
    run: (sessions, { session_id, userid }) => sessions.get(session_id, userid),
  }),
  call({
    path: 'update',
    methods: ['post'],
    takes: { session_id: 'required', data: 'required', userid: 'optional', version: 'optional' },
    namesSession: true,
    changes: true,
    answers: 'session',
    summary: "Replace a session's data",
    description:
      'Replaces the data and starts the idle time again. With a version, or If-Match, only that version is replaced; else the last writer wins.',
    run: (sessions, given) => sessions.update(given.session_id, given.data, given),
  }),
  call({
    path: 'patch',
    methods: ['post'],
    takes: { session_id: 'required', data: 'required', userid: 'optional', version: 'optional' },
    namesSession: true,
    changes: true,
    answers: 'session',
    summary: "Change some of a session's data",
    description:
      'Applies `data` as a JSON merge patch (RFC 7396), atomically, and starts the idle time again: only the members named change, and null removes one.',
    run: (sessions, given) => sessions.patch(given.session_id, given.data, given),
  }),
  call({
    path: 'touch',
    methods: ['post'],
    takes: { session_id: 'required', userid: 'optional' },
    namesSession: true,
    changes: true,
    answers: 'session',
    summary: "Start a session's idle time again",
    description: 'Starts the idle time again and changes nothing else, the version included.',
    run: (sessions, given) => sessions.touch(given.session_id, given),
  }),
  call({
    path: 'renew',
    methods: ['post'],
    takes: { session_id: 'required', userid: 'optional' },
    namesSession: true,
    changes: true,
    cookie: 'set',
    answers: 'session',
    summary: 'Give a session a new id',
    description:
      'Gives the session a new id, and the old one ends: do so after each login. Handle, data and version stay; the idle time starts again.',
    run: (sessions, given) => sessions.renew(given.session_id, given),
  }),
  call({
    path: 'end',
    methods: ['post'],
    takes: { session_id: 'optional', userid: 'optional', handle: 'optional' },
    namesSession: true,
    changes: true,
    cookie: 'clear',
    answers: 'count',
    summary: 'End a session',
    description:
      'Ends a session at once: the one of `session_id`, or of `userid` and a `handle` that list has shown. A second time is a 404.',
    run: async (sessions, { session_id, userid, handle }) => {
      if (session_id !== undefined && handle !== undefined && !session_id.startsWith(handle))
        throw conflicting('handle');
      if (session_id !== undefined) await sessions.end(session_id, { userid });
      else if (handle === undefined)
        throw missing('session_id', { session_id: 'required', userid: 'optional' });
      else if (userid === undefined) throw missing('userid', { userid: 'required', handle: 'required' });
      else await sessions.endByHandle(userid, handle);
      return { ended: 1 };
    },
  }),
  call({
    path: 'list',
    methods: ['get', 'post'],
    takes: { userid: 'required' },
    namesSession: false,
    changes: false,
    answers: 'list',
    summary: "List a user's sessions",
    description: "The user's live sessions, the newest first: handles and times, never ids or data.",
    run: async (sessions, { userid }) => listJson(await sessions.list(userid)),
  }),
  call({
    path: 'end_all',
    methods: ['post'],
    takes: { userid: 'required', except: 'optional' },
    namesSession: false,
    changes: true,
    answers: 'count',
    summary: "End a user's sessions",
    description:
      "Ends all of the user's sessions, but the one whose id is `except`, and says how many those were. An `except` that is no session of the user's is a 404, and nothing ends.",
    run: async (sessions, { userid, except }) => ({ ended: await sessions.endAll(userid, except) }),
  }),
];

/** Types what `run` is given by what the call takes. */
function call<const T extends Takes>(
  entry: Omit<Call, 'run' | 'takes'> & {
    readonly takes: T;
    run(sessions: Sessions, given: Given<T>): Awaitable<Session | object>;
  },
): Call {
  return entry as unknown as Call;
}

/** The parameters of a call, in the order in which they are best shown. */
export function parametersOf({ takes }: Call): [ParameterName, NonNullable<Takes[ParameterName]>][] {
  return Object.entries(takes) as [ParameterName, NonNullable<Takes[ParameterName]>][];
}
