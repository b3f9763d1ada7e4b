import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Child } from './children.mjs';
import { send } from './http.mjs';

const startDeadline = 60_000;

/**
 * Starts one server and waits for its first answer.
 *
 * @param {object} options
 * @param {string} options.name for messages
 * @param {string[]} options.args what node runs
 * @param {string[]} [options.command] what runs node, such as a shell that enters a cgroup
 * @param {Record<string, string>} options.env added to this process's environment
 * @param {string} options.folder where its output is kept
 * @param {number} options.port where it will listen, on 127.0.0.1
 * @param {string} options.cores those it is kept on
 * @param {object} options.probe the request whose answer ends the start
 * @returns {Promise<{ pid: number, port: number, startTime: number, stop: () => Promise<void> }>} startTime in
 *   milliseconds, from the spawn to the first answer
 */
export async function startServer({ name, args, command = [], env, folder, port, cores, probe }) {
  const output = join(folder, 'output.log');
  const file = openSync(output, 'a');
  const started = performance.now();
  const child = new Child(cores, [...command, process.execPath, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  try {
    await firstAnswer();
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { pid: child.pid, port, startTime: performance.now() - started, stop: () => child.stop() };

  async function firstAnswer() {
    for (;;) {
      if (child.hasEnded || performance.now() - started > startDeadline) {
        throw new Error(`${name} does not answer; its output:\n${readFileSync(output, 'utf8').slice(-2000)}`);
      }
      try {
        const { status, body } = await send(port, probe);
        if (status === 200) return;
        throw new Error(`${name} answers its first request ${status}: ${body}`);
      } catch (error) {
        if (error.code !== 'ECONNREFUSED' && error.code !== 'ECONNRESET') throw error;
        await pause(2);
      }
    }
  }
}

/** A port of 127.0.0.1 that nothing listens on now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
