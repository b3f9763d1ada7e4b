import type { SessionService, SessionTraits } from 'plugin-server';
import type { JsonObject } from './merge-patch.js';
import type { Sessions, StoredSession } from './sessions.js';
import type { Feed } from './stores/feed.js';

/** The session manager for other plugins: data are objects there, not the text that the store keeps. */
export function sessionService(
  sessions: Sessions,
  feed: Feed,
): Omit<SessionService, 'current' | 'login' | 'logout'> {
  return {
    create: async (userid, data, sessionId, traits) =>
      withData(await sessions.create(userid, data && checked(data), sessionId, checkedTraits(traits))),
    get: async (sessionId, userid) => withData(await sessions.get(sessionId, userid)),
    update: async (sessionId, data, expected) =>
      withData(await sessions.update(sessionId, checked(data), expected)),
    patch: async (sessionId, patch, expected) =>
      withData(await sessions.patch(sessionId, checked(patch), expected)),
    touch: async (sessionId, expected) => withData(await sessions.touch(sessionId, expected)),
    renew: async (sessionId, renewal) =>
      withData(await sessions.renew(sessionId, { ...renewal, ...checkedTraits(renewal) })),
    end: async (sessionId, expected) => sessions.end(sessionId, expected),
    endByHandle: async (userid, handle) => sessions.endByHandle(userid, handle),
    list: async (userid) => sessions.list(userid),
    all: async (walk) => sessions.all(walk),
    endAll: async (userid, except) => sessions.endAll(userid, except),
    on: (_event, listener) => feed.onEnded(listener),
    endEveryone: async () => (await sessions.endEveryone()).count,
  };
}

function withData<Data extends object>({ data, ...rest }: StoredSession) {
  return { ...rest, data: JSON.parse(data) as Data };
}

function checked(data: object, name = 'data'): JsonObject {
  if (!isPlainObject(data)) throw new TypeError(`session ${name} must be an object, such as { cart: [] }`);
  checkJson(data, name, 0);
  return data as JsonObject;
}

function checkedTraits({ remember, about, ip, user_agent }: SessionTraits = {}) {
  return { remember, about: about && checked(about, 'about'), ip, user_agent };
}

/** A plugin's mistake, not its client's: a TypeError. JSON.stringify would store something else, silently. */
function checkJson(value: unknown, place: string, depth: number): void {
  if (depth > maxDepth) throw new TypeError(`session ${place.slice(0, 40)}… is nested too deeply`);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (Number.isFinite(value)) return;
      break;
    case 'object':
      if (value === null) return;
      if (Array.isArray(value)) {
        // Not forEach, which passes over holes.
        for (let i = 0; i < value.length; i++) checkJson(value[i], `${place}[${i}]`, depth + 1);
        return;
      }
      if (!isPlainObject(value)) break;
      for (const [name, member] of Object.entries(value)) {
        // As JSON.stringify does, undefined members are left out.
        if (member !== undefined) checkJson(member, `${place}.${name}`, depth + 1);
      }
      return;
  }
  throw new TypeError(`session ${place} is ${kindOf(value)}, which JSON cannot represent`);
}

const maxDepth = 500;

function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function kindOf(value: unknown): string {
  if (typeof value === 'object') return `an instance of ${value?.constructor?.name ?? 'a class'}`;
  return typeof value === 'number' || value === undefined ? String(value) : `a ${typeof value}`;
}
