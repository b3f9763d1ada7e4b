import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { parse } from 'node:querystring';
import { serveByHand } from './by-hand.mjs';

const idleTimeout = 86_400_000;
const absoluteTimeout = 30 * idleTimeout;

/**
 * What sessman does, by hand: ids of 256 bits, of which the store keeps the first 96 to find the record and a hash of
 * the rest; expiry by idle and absolute time; versions; `new`, `get`, `check`, `update` and `patch`.
 *
 * A record is `{ handle, secret, userid, data, version, created, touched, ends, expires }`: handle and secret are Buffers,
 * data is JSON text, times are in milliseconds. A store has
 * - `create(record)`;
 * - `read(handle)`, undefined if there is none;
 * - `change(handle, changed)`: calls `changed` on the record, keeps what comes out, and gives it; undefined if either
 *   gives nothing;
 * - if it can do without reading first, `replace({ handle, secret, userid }, now, fields)`: sets the fields of that live
 *   record, adds one to its version, and gives it without its data.
 * All but read settle once the change is on disk.
 */
export function serveSessions(store) {
  const calls = new Map([
    ['/sessman/new', create],
    ['/sessman/get', get],
    ['/sessman/update', store.replace === undefined ? update : replace],
    ['/sessman/patch', patch],
  ]);
  serveByHand((request, body, answer) => {
    const { url } = request;
    const mark = url.indexOf('?');
    if (url === '/sessman/check') return check(request, answer);
    const call = calls.get(mark < 0 ? url : url.slice(0, mark));
    if (call === undefined) return answer(404, '{"error":"not found"}');
    call(mark < 0 ? {} : parse(url.slice(mark + 1)), body).then(
      (text) => (text === undefined ? answer(404, '{"error":"no such session"}') : answer(200, text)),
      () => answer(500, '{"error":"something went wrong"}'),
    );
  });

  async function create({ userid }, { data }) {
    const now = Date.now();
    const id = randomBytes(32).toString('base64url');
    const record = {
      ...partsOf(id),
      userid,
      data: JSON.stringify(data),
      version: 1,
      created: now,
      touched: now,
      ends: now + absoluteTimeout,
      expires: now + idleTimeout,
    };
    await store.create(record);
    return answerText(id, record);
  }

  async function get({ session_id: id, userid }) {
    const { handle, secret } = partsOf(id);
    const record = await store.read(handle);
    return record !== undefined && record.userid === userid && valid(record, secret)
      ? answerText(id, record)
      : undefined;
  }

  async function check({ headers }, answer) {
    const { handle, secret } = partsOf(headers['x-session-id']);
    const record = await store.read(handle);
    if (record === undefined || !valid(record, secret)) return answer(401, '{"error":"no such session"}');
    answer(204, '', {
      'X-Session-User': encodeURIComponent(record.userid),
      'X-Session-Handle': headers['x-session-id'].slice(0, 16),
      'X-Session-Expires': time(Math.min(record.expires, record.ends)),
      'Cache-Control': 'no-store',
    });
  }

  function update(query, { data }) {
    const text = JSON.stringify(data);
    return change(query, () => text);
  }

  function patch(query, { data }) {
    return change(query, (record) => JSON.stringify(merged(JSON.parse(record.data), data)));
  }

  async function change({ session_id: id, userid }, dataText) {
    const { handle, secret } = partsOf(id);
    const record = await store.change(handle, (old) => {
      if (old.userid !== userid || !valid(old, secret)) return undefined;
      const now = Date.now();
      return {
        ...old,
        data: dataText(old),
        version: old.version + 1,
        touched: now,
        expires: now + idleTimeout,
      };
    });
    return record && answerText(id, record);
  }

  async function replace({ session_id: id, userid }, body) {
    const now = Date.now();
    const data = JSON.stringify(body.data);
    const fields = { data, touched: now, expires: now + idleTimeout };
    const record = await store.replace({ ...partsOf(id), userid }, now, fields);
    return record && answerText(id, { ...record, data });
  }
}

function partsOf(id) {
  return {
    handle: Buffer.from(id.slice(0, 16), 'base64url'),
    secret: hash('sha256', id.slice(16), 'buffer'),
  };
}

function valid(record, secret) {
  const now = Date.now();
  return record.expires > now && record.ends > now && timingSafeEqual(record.secret, secret);
}

/** The data is spliced in as the text it is kept as. */
function answerText(id, { userid, data, version, created, touched, expires, ends }) {
  return `{"session_id":"${id}","userid":${JSON.stringify(userid)},"data":${data},"version":${version},"created_at":"${time(created)}","updated_at":"${time(touched)}","expires_at":"${time(Math.min(expires, ends))}"}`;
}

function time(milliseconds) {
  return new Date(milliseconds).toISOString();
}

/** RFC 7396. */
function merged(target, patch) {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result = typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}
