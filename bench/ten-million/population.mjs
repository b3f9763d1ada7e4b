import { hash } from 'node:crypto';
import { parseSessionId } from '../../dist/plugins/sessman/session-id.js';
import { userPrefix } from '../../dist/plugins/sessman/stores/embedded/keys.js';

const perUser = 10;

/** Of each session's data as JSON. */
export const dataBytes = 800;
export const data = JSON.stringify({ theme: 'dark', text: 'x'.repeat(dataBytes - 26) });

/**
 * Sessions that are computed from their numbers, so that nobody keeps ten million ids. They are stored in ten passes, each
 * over all handles and users: a bulk command meets the pages of the file in their order, and still leaves them as filled as
 * logins do. Each user has one session of each pass.
 */
export class Population {
  #users;

  /**
   * @param {object} options
   * @param {string} options.name told apart from other populations by it
   * @param {number} options.count
   * @param {(n: number) => number} options.expires when session n expires, in milliseconds since 1970
   */
  constructor({ name, count, expires }) {
    this.name = name;
    this.count = count;
    this.expires = expires;
    this.#users = usersByHash(name, Math.ceil(count / perUser));
  }

  /** The id of session n, as a client sends it. */
  id(n) {
    const rank = (n % this.#users.length) + 0.5;
    const rest = hash('sha256', `${this.name} ${n}`, 'buffer');
    const key = Buffer.alloc(12);
    key.writeUIntBE(Math.floor((rank / this.#users.length) * 2 ** 48), 0, 6);
    rest.copy(key, 6, 0, 6);
    return key.toString('base64url') + rest.toString('base64url', 6, 26);
  }

  userid(n) {
    return useridOf(this.name, this.#users[n % this.#users.length]);
  }

  record(n) {
    const { handle, secretHash } = parseSessionId(this.id(n));
    const created = Date.now();
    const expires = this.expires(n);
    const ends = expires + 86_400_000;
    const times = { created, touched: created, expires, ends };
    return { handle, secretHash, userid: this.userid(n), data, version: 1, ...times };
  }
}

function useridOf(name, user) {
  return `user-${name}-${user}@example.org`;
}

/** Users in the order of the store's index. */
function usersByHash(name, count) {
  const hashes = Float64Array.from({ length: count }, (_, user) =>
    userPrefix(useridOf(name, user)).readUIntBE(0, 6),
  );
  return Uint32Array.from({ length: count }, (_, user) => user).sort((a, b) => hashes[a] - hashes[b]);
}
