import { closeSync, openSync, readSync } from 'node:fs';
import { isIPv4 } from 'node:net';

/** How much of /proc/net/tcp is read at a time: a row has 150 bytes. */
const procBytes = 150;
/** The state LISTEN in /proc/net/tcp. */
const listenState = '0A';
/** How often a queue is looked at, in milliseconds. */
const look = 5;

/**
 * How many connections wait in the kernel's queue to be accepted by whoever listens there. 0 where this is unknown: on a system
 * without /proc/net/tcp.
 */
export function queueLength(host: string, port: number): number {
  // An IPv6 socket serves IPv4 clients too, but has its row in the one file.
  return queueIn(isIPv4(host) ? '/proc/net/tcp' : '/proc/net/tcp6', host, port);
}

/** Resolves when a queue of this length is empty, or after `limit` milliseconds. */
export async function queueEmptied(length: () => number, limit: number): Promise<void> {
  const end = performance.now() + limit;
  while (performance.now() < end && length() > 0) {
    await new Promise((resolve) => setTimeout(resolve, look));
  }
}

/**
 * The length of the accept queue of the socket that listens on that port: rx_queue in proc(5). The rows of listening sockets
 * come first, and reading stops at the row that is wanted: to fill a larger buffer, the kernel would search a table in which
 * a busy server has tens of thousands of connections.
 */
function queueIn(file: string, host: string, port: number): number {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return 0;
  }
  try {
    const address = `${isIPv4(host) ? hexAddress(host) : ''}:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    const buffer = Buffer.allocUnsafe(procBytes);
    let text = '';
    for (;;) {
      const read = readSync(descriptor, buffer, 0, procBytes, null);
      if (read === 0) return 0;
      text += buffer.toString('latin1', 0, read);
      const [, ...rows] = text.split('\n');
      for (const row of rows) {
        const [, local = '', , state, queues = '', next] = row.trim().split(/\s+/);
        if (next === undefined) break;
        if (state !== listenState) return 0;
        if (local.endsWith(address)) return Number.parseInt(queues.split(':')[1] ?? '0', 16);
      }
    }
  } finally {
    closeSync(descriptor);
  }
}

/** An IPv4 address as /proc/net/tcp writes it on a little-endian machine: 127.0.0.1 is 0100007F. */
function hexAddress(host: string): string {
  return host
    .split('.')
    .reverse()
    .map((part) => Number(part).toString(16).toUpperCase().padStart(2, '0'))
    .join('');
}
