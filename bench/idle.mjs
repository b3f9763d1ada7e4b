import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { wireText } from './http.mjs';
import { memory } from './processes.mjs';

const connections = 10_000;
/** As many are opened at once. */
const batch = 100;
/** Milliseconds for what the requests left behind to be collected. */
const rest = 8000;

/** Opens many connections, sends one request on each, leaves them open, and gives the server's bytes for each. */
export async function idleMemory(pid, port, message) {
  const sockets = [];
  const text = wireText(port, message);
  try {
    // What the first connections cost, every server pays once.
    await open(batch);
    await pause(rest);
    const before = memory(pid).total;
    while (sockets.length < connections + batch) await open(batch);
    await pause(rest);
    return (memory(pid).total - before) / connections;
  } finally {
    for (const socket of sockets) socket.destroy();
  }

  async function open(count) {
    await Promise.all(
      Array.from({ length: count }, async () => {
        const socket = connect(port, '127.0.0.1');
        sockets.push(socket);
        socket.write(text);
        await once(socket, 'data');
      }),
    );
  }
}
