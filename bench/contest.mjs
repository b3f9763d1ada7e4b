import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { contestants } from './contestants.mjs';
import { startDatabase } from './database.mjs';
import { send } from './http.mjs';
import { idleMemory } from './idle.mjs';
import { load } from './load.mjs';
import { bothCores, otherCore, serverCore } from './machine.mjs';
import { cpuSeconds, memory } from './processes.mjs';
import { startProxy } from './proxy.mjs';
import { makeSessions, sessionNew } from './requests.mjs';
import { freePort, startServer } from './server.mjs';

const sessionCount = 1000;
/** Of a million, so many are called, that not all of them lie in one cache. */
const sessionCountAmongMany = 20_000;
/** Compilers have seen enough by then. */
const warmUpAnswers = 10_000;
const warmUpSlices = 5;
/** Some garbage collections after the start. */
const restMilliseconds = 14_000;
const preloadSliceSeconds = 10;
const preloadSlices = 60;

/** One server with what a row needs: its database, its sessions, the requests to send. */
export class Contest {
  #row;
  #server;
  #database;
  #proxy;
  #folder;
  #requests;
  #keepFolder;
  #warm = false;

  /**
   * Starts a contestant.
   *
   * @param {string} name of contestants.mjs
   * @param {object} row of rows.mjs
   * @param {string} root where folders are made
   * @param {Map<string, object>} stores the preloaded ones, kept from one contest to the next
   * @param {Record<string, string>} [env] added to the server's environment
   */
  static async open(name, row, root, stores, env = {}) {
    const { preload } = contestants.get(name);
    if (preload !== undefined && !stores.has(name)) stores.set(name, await fill(name, preload, root));
    const contest = new Contest(
      row,
      stores.get(name)?.folder ?? mkdtempSync(join(root, 'server-')),
      stores.has(name),
    );
    try {
      await contest.#start(name, env, stores.get(name)?.sessions);
      return contest;
    } catch (error) {
      await contest.close();
      throw error;
    }
  }

  constructor(row, folder, keepFolder) {
    this.#row = row;
    this.#folder = folder;
    this.#keepFolder = keepFolder;
  }

  async #start(name, env, sessions = []) {
    const { request, database, shared } = this.#row;
    this.#database = database && (await startDatabase(database, this.#folder));
    const cores = shared ? bothCores : serverCore;
    this.#server = await launch(name, {
      request,
      folder: this.#folder,
      cores,
      databaseUrl: this.#database?.url,
      env,
    });
    if (this.#row.proxied) this.#proxy = await startProxy(this.#server.port, this.#folder, otherCore);
    if (request.needsSessions && sessions.length === 0)
      sessions = await makeSessions(this.#server.port, sessionCount);
    this.#requests = request.requests(sessions);
  }

  /**
   * Under load for some seconds.
   *
   * @returns answers a second; microseconds of processor time an answer; p50 and p99 in milliseconds; memory in bytes
   */
  async underLoad(seconds) {
    const { request, shared } = this.#row;
    const { pid } = this.#server;
    const { port } = this.#proxy ?? this.#server;
    const cores = shared ? bothCores : otherCore;
    const options = { port, requests: this.#requests, cores, folder: this.#folder };
    if (!this.#warm) await warmUp({ ...options, seconds: 1, expect: request.expect });
    this.#warm = true;
    await this.#verify();
    const before = cpuSeconds(pid);
    const { count, rate, p50, p99 } = await load({ ...options, seconds });
    if (count === 0) throw new Error('the load generator got no answer');
    const cpu = ((cpuSeconds(pid) - before) / count) * 1e6;
    const { total, anonymous } = memory(pid);
    await this.#verify();
    return { rate, cpu, p50, p99, memory: total, anonymousMemory: anonymous };
  }

  /** As it has started: milliseconds to the first answer, and bytes once it is at rest. */
  async atRest() {
    const { pid, startTime } = this.#server;
    await this.#verify();
    await pause(restMilliseconds);
    const { total, anonymous, own } = memory(pid);
    return { startTime, memory: total, anonymousMemory: anonymous, ownMemory: own };
  }

  /** Bytes that an idle connection costs, kept open after one request. */
  async withIdleConnections() {
    const { pid, port } = this.#server;
    await this.#verify();
    return { connectionMemory: await idleMemory(pid, port, this.#requests[0]) };
  }

  async #verify() {
    const { length } = this.#requests;
    for (const index of new Set([0, length >> 1, length - 1])) {
      await verify(this.#server.port, this.#requests[index], this.#row.request);
    }
  }

  async close() {
    await this.#proxy?.stop();
    await this.#server?.stop();
    await this.#database?.stop();
    if (!this.#keepFolder) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Checks the body of every answer, which would cost the load generator too much later on. */
async function warmUp(options) {
  let count = 0;
  for (let slice = 0; slice < warmUpSlices && count < warmUpAnswers; slice++)
    count += (await load(options)).count;
}

async function launch(name, { request, folder, cores, databaseUrl, env }) {
  const port = await freePort();
  // Rows that need sessions have none yet: any row's server can be asked for a new one.
  const probe = request.needsSessions ? sessionNew.requests()[0] : request.requests([])[0];
  const command = contestants.get(name).launch({ port, folder, databaseUrl });
  return startServer({
    name,
    args: command.args,
    env: { ...command.env, ...env },
    folder,
    port,
    cores,
    probe,
  });
}

async function verify(port, message, { right, status: wanted = 200 }) {
  const { status, body } = await send(port, message);
  if (status !== wanted || !right(body === '' ? undefined : JSON.parse(body))) {
    throw new Error(`${message.method} ${message.path} is answered ${status}: ${body}`);
  }
}

/** Fills a store through the server itself, and gives its folder and some of its sessions. */
async function fill(name, count, root) {
  const folder = join(root, name.replaceAll(/\W+/g, '-'));
  mkdirSync(folder);
  const server = await launch(name, { request: sessionNew, folder, cores: bothCores });
  const { port } = server;
  try {
    let left = count - sessionCountAmongMany;
    for (let slice = 0; left > 0; slice++) {
      if (slice === preloadSlices) throw new Error(`${name} takes too long to make ${count} sessions`);
      const options = { port, requests: sessionNew.requests(), cores: bothCores, folder };
      left -= (await load({ ...options, seconds: preloadSliceSeconds })).count;
    }
    return { folder, sessions: await makeSessions(port, sessionCountAmongMany) };
  } finally {
    await server.stop();
  }
}
