import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from './children.mjs';
import { otherCore } from './machine.mjs';
import { freePort } from './server.mjs';

const startDeadline = 30_000;

/** Starts the MongoDB of a row, beside the load generator: what is measured is the server in front of it. */
export async function startDatabase(kind, folder) {
  const port = await freePort();
  const command = kind === 'mongod' ? mongod(port, folder) : responder(port);
  const child = new Child(otherCore, command, { stdio: 'ignore' });
  const deadline = performance.now() + startDeadline;
  while (!(await listens(port))) {
    if (child.hasEnded || performance.now() > deadline) {
      await child.stop();
      throw new Error(`the ${kind} does not start`);
    }
    await pause(10);
  }
  return { url: `mongodb://127.0.0.1:${port}/`, stop: () => child.stop() };
}

function responder(port) {
  return [process.execPath, fileURLToPath(new URL('mongo-responder.mjs', import.meta.url)), String(port)];
}

function mongod(port, folder) {
  const data = mkdtempSync(join(folder, 'mongod-'));
  return ['mongod', '--dbpath', data, '--port', String(port), '--bind_ip', '127.0.0.1', '--quiet'];
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
