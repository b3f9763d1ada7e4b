import type { Model } from './linearizable.js';

/** A call for one session, as a client makes it. */
export interface SessionCall {
  readonly call: 'new' | 'get' | 'update' | 'patch' | 'renew' | 'end';
  /** The id that it is for; without one, whatever the session's is. */
  readonly id?: string;
  readonly data?: Data;
  /** The version that the session must have. */
  readonly version?: number;
}

export interface SessionAnswer {
  readonly status: number;
  readonly version?: number;
  readonly data?: Data;
  /** The new id, of `renew`. */
  readonly id?: string;
}

type Data = Readonly<Record<string, number>>;

export interface Session {
  readonly id: string;
  readonly version: number;
  readonly data: Data;
}

/** What docs/sessman.md says of one session that does not expire. Null before it begins and after it has ended. */
export const sessionModel: Model<Session | null, SessionCall, SessionAnswer> = {
  initial: null,
  step(state, input, output) {
    const [next, answer] = happen(state, input, output?.id);
    return output === undefined || agrees(output, answer) ? next : undefined;
  },
};

/** The next state and the answer. `newId` is the one that a renewal gives. */
export function happen(
  state: Session | null,
  { call, id, data = {}, version }: SessionCall,
  // An id that went with its answer is nobody's.
  newId = `after ${state?.id}`,
): readonly [Session | null, SessionAnswer] {
  if (call === 'new') {
    if (state) return [state, { status: 409 }];
    return [
      { id: id!, version: 1, data },
      { status: 200, version: 1, data },
    ];
  }
  if (!state || (id !== undefined && id !== state.id)) return [state, { status: 404 }];
  if (call === 'end') return [null, { status: 200 }];
  if (version !== undefined && version !== state.version) {
    return [state, { status: 412, version: state.version }];
  }
  const next = changed(state, call, data, newId);
  return [next, { status: 200, version: next.version, data: next.data, id: next.id }];
}

function changed(state: Session, call: SessionCall['call'], data: Data, newId: string): Session {
  switch (call) {
    case 'update':
      return { ...state, version: state.version + 1, data };
    case 'patch':
      return { ...state, version: state.version + 1, data: { ...state.data, ...data } };
    case 'renew':
      return { ...state, id: newId };
    default:
      return state;
  }
}

/** Whether an answer says nothing else than what the model answers. */
function agrees(output: SessionAnswer, answer: SessionAnswer): boolean {
  return (
    output.status === answer.status &&
    (output.version === undefined || output.version === answer.version) &&
    (output.data === undefined || isSame(output.data, answer.data ?? {}))
  );
}

function isSame(one: Data, other: Data): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
