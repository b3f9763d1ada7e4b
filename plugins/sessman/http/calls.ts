import type { SessmanErrorCode } from '../errors.js';
import type { Sessions } from '../sessions.js';
import type { Awaitable, LiveCount } from '../store.js';
import { type Answer, countAnswer, listAnswer, sessionAnswer, walkAnswer } from './answer.js';
import { isLive } from './live.js';
import { conflicting, type Given, invalid, missing, type ParameterName, type Takes } from './parameters.js';

/** One call of the session manager: its route, what it accepts, what it does and how OpenAPI describes it. */
export interface Call<T extends Takes = Takes, Result = unknown> {
  readonly path: string;
  readonly methods: readonly ('get' | 'post')[];
  readonly takes: T;
  /** Whether `session_id` says which session is meant, so that it may come in a header or cookie as well. */
  readonly namesSession: boolean;
  /** In cookie mode, what a caller with the cookie alone may use the call for: its session, its user's sessions, or nothing. */
  readonly byCookie: 'session' | 'user' | 'nothing';
  /** It is for operators alone: with [admin], it is served at that address. */
  readonly forOperators?: true;
  /** Whether it changes data, which a caller with the cookie alone may do only where `cookie_data` says so. */
  readonly writesData?: true;
  /** What of the request only a caller with an API key may ask for, even where nothing else requires one. */
  withKeyOnly?(given: Given<T>): string | undefined;
  /** In cookie mode, the response sets the cookie to the session of the result. */
  readonly setsCookie?: boolean;
  /** In cookie mode, whether the call ends the session of the cookie, which the response then clears. */
  endsSession?(sessions: Sessions, given: Given<T>, sessionId: string): Awaitable<boolean>;
  run(sessions: Sessions, given: Given<T>): Awaitable<Result>;
  /** For the audit line of a caller with a key: which sessions of somebody else it ended. Undefined if none. */
  audited?(given: Given<T>, result: Result): object | undefined;
  readonly answer: Answer<Result>;
  /** The errors of this call alone, by code; those of parameters and store come with every call. */
  readonly errors: readonly SessmanErrorCode[];
  /** Optional parameters of the example in OpenAPI. */
  readonly shows?: readonly ParameterName[];
  readonly summary: string;
  readonly description: string;
}

/** The parameters of `new` and `renew` about the session. */
const traits = { remember: 'optional', about: 'optional', ip: 'optional', user_agent: 'optional' } as const;

/** All calls. A new call is one more entry. */
export const calls: readonly Call[] = [
  call({
    path: 'new',
    methods: ['post'],
    takes: { userid: 'required', data: 'optional', session_id: 'optional', ...traits },
    namesSession: false,
    byCookie: 'nothing',
    setsCookie: true,
    run: (sessions, { userid, data, session_id, ...told }) => sessions.create(userid, data, session_id, told),
    answer: sessionAnswer,
    errors: ['invalid_userid', 'invalid_session_id', 'session_exists', 'data_too_large'],
    summary: 'Create a session',
    description:
      'Creates a session for the user. sessman generates its id, unless `session_id` provides one: 32 bytes in base64url, random or a SHA-256.',
  }),
  call({
    path: 'get',
    methods: ['get', 'post'],
    takes: { session_id: 'or_handle', userid: 'with_visible_id', handle: 'optional' },
    namesSession: true,
    byCookie: 'session',
    withKeyOnly: ({ handle }) => (handle === undefined ? undefined : 'Reading a session by its handle'),
    run: (sessions, { session_id, userid, handle }) => {
      if (session_id === undefined) return sessions.getByHandle(userid!, handle!);
      if (handle !== undefined) checkHandle(session_id, handle);
      return sessions.get(session_id, userid);
    },
    answer: sessionAnswer,
    errors: ['session_not_found'],
    summary: 'Read a session',
    description:
      'Reads a session without changing its expiry. With the header X-Session-Id, `userid` is optional; with the id in the URL or body it is required. A caller with an API key may name the session by `userid` and a `handle` from `list` or `sessions` instead; the response then has no `session_id`.',
  }),
  call({
    path: 'update',
    methods: ['post'],
    takes: { session_id: 'required', data: 'required', userid: 'optional', version: 'optional' },
    namesSession: true,
    byCookie: 'session',
    writesData: true,
    run: (sessions, given) => sessions.update(given.session_id, given.data, given),
    answer: sessionAnswer,
    errors: ['session_not_found', 'version_mismatch', 'data_too_large'],
    summary: "Replace a session's data",
    description:
      'Replaces the data and restarts the idle timeout. With a version or If-Match, only if the session is at that version; else the last writer wins.',
  }),
  call({
    path: 'patch',
    methods: ['post'],
    takes: { session_id: 'required', data: 'required', userid: 'optional', version: 'optional' },
    namesSession: true,
    byCookie: 'session',
    writesData: true,
    run: (sessions, given) => sessions.patch(given.session_id, given.data, given),
    answer: sessionAnswer,
    errors: ['session_not_found', 'version_mismatch', 'data_too_large', 'session_busy'],
    summary: "Change some of a session's data",
    description:
      'Applies `data` as a JSON merge patch (RFC 7396) atomically and restarts the idle timeout: only the named members change, and null removes one.',
  }),
  call({
    path: 'touch',
    methods: ['post'],
    takes: { session_id: 'required', userid: 'optional' },
    namesSession: true,
    byCookie: 'session',
    run: (sessions, given) => sessions.touch(given.session_id, given),
    answer: sessionAnswer,
    errors: ['session_not_found'],
    summary: "Restart a session's idle timeout",
    description: 'Restarts the idle timeout and changes nothing else; the version stays.',
  }),
  call({
    path: 'renew',
    methods: ['post'],
    takes: { session_id: 'required', userid: 'optional', authenticated: 'optional', ...traits },
    namesSession: true,
    byCookie: 'session',
    setsCookie: true,
    run: (sessions, given) => sessions.renew(given.session_id, given),
    answer: sessionAnswer,
    errors: ['session_not_found'],
    summary: 'Give a session a new id',
    description:
      'Gives the session a new id and invalidates the old one; do this after each login. Handle, data and version stay the same; the idle timeout restarts. With `authenticated`, the absolute timeout restarts as well.',
  }),
  call({
    path: 'end',
    methods: ['post'],
    takes: { session_id: 'optional', userid: 'optional', handle: 'optional' },
    namesSession: true,
    byCookie: 'session',
    endsSession: (_sessions, { session_id, handle }, id) => id.startsWith(handle ?? session_id!.slice(0, 16)),
    run: async (sessions, { session_id, userid, handle }) => {
      if (session_id !== undefined && handle !== undefined) checkHandle(session_id, handle);
      if (session_id !== undefined) await sessions.end(session_id, { userid });
      else if (handle === undefined)
        throw missing('session_id', { session_id: 'required', userid: 'optional' });
      else if (userid === undefined) throw missing('userid', { userid: 'required', handle: 'required' });
      else await sessions.endByHandle(userid, handle);
      return 1;
    },
    // With the session's own id, it is a logout.
    audited: ({ session_id, handle }) => (session_id === undefined ? { handle } : undefined),
    answer: countAnswer,
    errors: ['session_not_found'],
    summary: 'End a session',
    description:
      'Ends a session at once: the one of `session_id`, or of `userid` and a `handle` from `list`. Ending it again returns 404.',
  }),
  call({
    path: 'list',
    methods: ['get', 'post'],
    takes: { userid: 'required', session_id: 'optional' },
    namesSession: true,
    byCookie: 'user',
    run: (sessions, { userid, session_id }) => sessions.list(userid, session_id),
    answer: listAnswer,
    errors: ['invalid_userid'],
    summary: "List a user's sessions",
    description:
      "The user's live sessions, newest first: handles, times and what `about` says, never ids or data. `current` marks the one whose id the request carries.",
  }),
  call({
    path: 'sessions',
    methods: ['get'],
    forOperators: true,
    takes: { limit: 'optional', after: 'optional', userid_prefix: 'optional' },
    namesSession: false,
    byCookie: 'nothing',
    run: (sessions, walk) => sessions.all(walk),
    answer: walkAnswer,
    errors: ['invalid_userid'],
    summary: 'List the sessions of all users',
    description:
      'One page of all live sessions, without ids and data, ordered by the bytes of the handle, or with `userid_prefix` by those of (userid, handle). Pass `next` as `after` to get the next page; it stays valid even if its session ends. A session that is live from the first page to the last is on exactly one page, any other on at most one.',
  }),
  call({
    path: 'end_all',
    methods: ['post'],
    takes: { userid: 'optional', except: 'optional', session_id: 'optional', everyone: 'optional' },
    namesSession: true,
    byCookie: 'user',
    endsSession: async (sessions, { userid, except, session_id, everyone }, id) => {
      if (everyone) return isLive(sessions, id);
      if (userid === undefined) return false;
      const kept = except === 'current' ? session_id : except;
      return kept?.slice(0, 16) !== id.slice(0, 16) && (await sessions.has(id, userid));
    },
    run: (sessions, { userid, except, session_id, everyone }): Promise<number | LiveCount> => {
      if (everyone && (userid ?? except) !== undefined)
        throw invalid(
          'everyone',
          `is for all users; leave out ${userid === undefined ? 'except' : 'userid'}`,
        );
      if (everyone) return sessions.endEveryone();
      if (userid === undefined) throw missing('userid', { userid: 'required', except: 'optional' });
      return sessions.endAll(userid, except, session_id);
    },
    audited: ({ everyone }, ended) => {
      const count = typeof ended === 'number' ? ended : ended.count;
      return count === 0 ? undefined : { count, ...(everyone && { everyone }) };
    },
    answer: countAnswer,
    errors: ['invalid_userid', 'session_not_found'],
    shows: ['userid'],
    summary: "End a user's sessions",
    description:
      'Ends all sessions of the user except `except`, and returns how many ended. If `except` is not a session of the user, the call returns 404 and no session ends. With `everyone`, it ends the sessions of all users: once the call has responded, no host accepts any of them.',
  }),
];

/** A request that names a session twice must mean one. */
function checkHandle(sessionId: string, handle: string): void {
  if (!sessionId.startsWith(handle)) throw conflicting('handle');
}

/** Types `run` by what the call takes, and its result by what it answers. */
function call<const T extends Takes, Result>(entry: Call<T, Result>): Call {
  return entry as unknown as Call;
}
