import { setTimeout as pause } from 'node:timers/promises';
import { send } from '../http.mjs';
import { key } from '../peers/key.mjs';
import { data } from './population.mjs';

const headers = { Authorization: `Bearer ${key}` };
const jsonHeaders = { ...headers, 'Content-Type': 'application/json' };
const userCount = 100_000;
const body = JSON.stringify({ data: JSON.parse(data) });
const patch = JSON.stringify({ data: { theme: 'light' } });

/** A call of each kind that is measured, for the session with that id. */
export const calls = {
  get: (id) => ({ method: 'GET', path: '/sessman/get', headers: { ...headers, 'X-Session-Id': id } }),
  update: (id) => ({
    method: 'POST',
    path: '/sessman/update',
    headers: { ...jsonHeaders, 'X-Session-Id': id },
    body,
  }),
  patch: (id) => ({
    method: 'POST',
    path: '/sessman/patch',
    headers: { ...jsonHeaders, 'X-Session-Id': id },
    body: patch,
  }),
};

/** Logins of many users. */
export function newSession() {
  return Array.from({ length: 1000 }, () => ({
    method: 'POST',
    path: `/sessman/new?userid=http-${Math.floor(Math.random() * userCount)}@example.org`,
    headers: jsonHeaders,
    body,
  }));
}

export function control(method, path, parameters) {
  return { method, path, headers: jsonHeaders, ...(parameters && { body: JSON.stringify(parameters) }) };
}

/** What applications send: seven reads to two updates and one patch. */
export function mixed(id) {
  const share = Math.random();
  return calls[share < 0.7 ? 'get' : share < 0.9 ? 'update' : 'patch'](id);
}

/** The values of a metric, each with its labels as text. A busy server may refuse to tell them at first. */
export async function metrics(port, name) {
  const { status, body } = await send(port, { method: 'GET', path: '/metrics', headers });
  if (status !== 200) {
    await pause(200);
    return metrics(port, name);
  }
  return Array.from(
    body.matchAll(new RegExp(`^${name}(\\{.*\\})? (\\S+)`, 'gm')),
    ([, labels = '', value]) => ({
      labels,
      value: Number(value),
    }),
  );
}

/** How many records are in the store, expired ones included. */
export async function stored(port) {
  const [{ value }] = await metrics(port, 'sessman_sessions');
  return value;
}
