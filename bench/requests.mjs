import { Agent } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { send } from './http.mjs';
import { key } from './peers/key.mjs';

/*
 * The kinds of request that are measured. Each has `requests(sessions)`, the messages to send in turn; `right(answer)`,
 * whether an answer's JSON is the one wanted; `expect`, a text that the body of each answer holds; `status`, where it is not
 * 200; and `needsSessions`.
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

export const ping = {
  requests: () => [{ method: 'GET', path: '/echo0/ping', headers }],
  right: (answer) => isDeepStrictEqual(answer, { ok: true }),
  expect: '"ok":true',
};

/** With the five members that `route()` checks. */
export const report = {
  requests: () =>
    echo.requests().map((one) => ({
      ...one,
      body: JSON.stringify({
        n: 42,
        name: 'Ada Lovelace',
        tags: ['one', 'two', 'three'],
        active: true,
        note: '3 GB in 4 minutes',
      }),
    })),
  right: echo.right,
  expect: echo.expect,
};

/** As a proxy passes them on, from so many clients in turn. */
const clientCount = 1000;
export const echoOfMany = {
  ...echo,
  requests: () =>
    Array.from({ length: clientCount }, (_, i) => ({
      ...echo.requests()[0],
      headers: { ...jsonHeaders, 'X-Forwarded-For': `10.0.${i >> 8}.${i & 255}` },
    })),
};

/** Each over a connection of its own, as HTTP/1.0 clients, scripts and nginx by default send them. */
export const echoAlone = {
  ...echo,
  requests: () =>
    echo.requests().map((one) => ({ ...one, headers: { ...one.headers, Connection: 'close' } })),
};

/** So many users take turns to have new sessions, in no order, that an index by user is as spread as with real ones. */
const userCount = 10_000;
const stride = 7919;
const userids = Array.from({ length: userCount }, (_, i) => `user-${(i * stride) % userCount}@example.org`);
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
const newSessions = userids.map((userid) => ({
  method: 'POST',
  path: `/sessman/new?userid=${userid}`,
  headers: jsonHeaders,
  body: JSON.stringify({ data }),
}));

export const sessionNew = { ...sameData, requests: () => newSessions };

export const sessionGet = {
  ...sameData,
  needsSessions: true,
  requests: (sessions) => sessions.map((session) => callOn(session, 'GET', 'get')),
};

/** What a proxy asks before it passes a visitor's request on. */
export const sessionCheck = {
  status: 204,
  right: (answer) => answer === undefined,
  needsSessions: true,
  requests: (sessions) =>
    sessions.map(({ id }) => ({
      method: 'GET',
      path: '/sessman/check',
      headers: { ...headers, 'X-Session-Id': id },
    })),
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
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const sessions = [];
  let started = 0;
  const worker = async () => {
    while (started < count) {
      const index = started++ % userCount;
      const answer = await send(port, newSessions[index], agent);
      if (answer.status !== 200) throw new Error(`no new session: ${answer.status} ${answer.body}`);
      const cookies = answer.headers['set-cookie']?.map((cookie) => cookie.split(';', 1)[0]).join('; ');
      sessions.push({ id: JSON.parse(answer.body).session_id, userid: userids[index], cookies });
    }
  };
  try {
    await Promise.all(Array.from({ length: agent.maxSockets }, worker));
  } finally {
    agent.destroy();
  }
  return sessions;
}

function callOn({ id, userid, cookies }, method, call, body) {
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
