import { Agent } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { send } from './http.mjs';
import { key } from './peers/key.mjs';

/*
 * The kinds of request that are measured. Each has `requests(sessions)`, the messages to send in turn; `right(answer)`,
 * whether an answer's JSON is the one wanted; `expect`, a text that the body of each answer holds; and `needsSessions`.
 */

const headers = { Authorization: `Bearer ${key}` };
const jsonHeaders = { ...headers, 'Content-Type': 'application/json' };

export const echo = {
  requests: () => [
    {
      method: 'POST',
      path: '/echo0/r5',
      headers: jsonHeaders,
      body: JSON.stringify({ n: 42, name: 'Ada Lovelace', tags: ['one', 'two', 'three'], active: true }),
    },
  ],
  right: (answer) => isDeepStrictEqual(answer, { ok: true, n: 42 }),
  expect: '"n":42',
};

const userid = 'ada.lovelace@example.org';
const data = {
  theme: 'dark',
  locale: 'en-GB',
  cart: [
    { sku: 'A-1001', count: 2 },
    { sku: 'B-2002', count: 1 },
  ],
  flash: 'Welcome back!',
  roles: ['editor', 'reviewer'],
  lastPage: '/orders/2041/details',
};
const sameData = { right: (answer) => isDeepStrictEqual(answer.data, data), expect: '"theme":"dark"' };
const newSession = {
  method: 'POST',
  path: `/sessman/new?userid=${userid}`,
  headers: jsonHeaders,
  body: JSON.stringify({ data }),
};

export const sessionNew = { ...sameData, requests: () => [newSession] };

export const sessionGet = {
  ...sameData,
  needsSessions: true,
  requests: (sessions) => sessions.map((session) => callOn(session, 'GET', 'get')),
};

export const sessionUpdate = {
  ...sameData,
  needsSessions: true,
  requests: (sessions) => sessions.map((session) => callOn(session, 'POST', 'update', { data })),
};

export const sessionPatch = {
  ...sameData,
  needsSessions: true,
  requests: (sessions) =>
    sessions.map((session) =>
      callOn(session, 'POST', 'patch', { data: { theme: 'dark', flash: 'Welcome back!' } }),
    ),
};

/** Makes sessions through a server's own `new` and gives what its other calls need: an id, or a cookie. */
export async function makeSessions(port, count) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const sessions = [];
  let left = count;
  const worker = async () => {
    while (left-- > 0) {
      const answer = await send(port, newSession, agent);
      if (answer.status !== 200) throw new Error(`no new session: ${answer.status} ${answer.body}`);
      const cookies = answer.headers['set-cookie']?.map((cookie) => cookie.split(';', 1)[0]).join('; ');
      sessions.push({ id: JSON.parse(answer.body).session_id, cookies });
    }
  };
  try {
    await Promise.all(Array.from({ length: agent.maxSockets }, worker));
  } finally {
    agent.destroy();
  }
  return sessions;
}

function callOn({ id, cookies }, method, call, body) {
  return {
    method,
    path: id === undefined ? `/sessman/${call}` : `/sessman/${call}?session_id=${id}&userid=${userid}`,
    headers: {
      ...(body === undefined ? headers : jsonHeaders),
      ...(id === undefined ? { Cookie: cookies } : {}),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
}
