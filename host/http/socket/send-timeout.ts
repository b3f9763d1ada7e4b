import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Looks at a response this many times within its timeout. */
const LOOKS = 8;

/**
 * Closes the connection of a client that takes nothing of its response for that many milliseconds. A response that waits
 * for its plugin, such as an event stream in a quiet time, is left alone.
 *
 * The socket's own timer would take up to twice as long: it starts over once when part of what it was given has gone out.
 */
export function limitSending(response: ServerResponse, timeout: number): void {
  // Nearly always the system has taken all of it by now.
  if (response.writableEnded && response.writableLength === 0) return;
  const { socket } = response;
  if (response.closed || socket === null) return;
  let sent = sentBytes(socket);
  let since = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const total = sentBytes(socket);
    if (total > sent || socket.writableLength === 0) {
      sent = Math.max(sent, total);
      since = now;
    } else if (now - since >= timeout) socket.destroy();
  }, timeout / LOOKS).unref();
  response.once('close', () => clearInterval(timer));
}

/** Bytes that the system has taken. Of a large write it takes a part at a time, which only the handle knows. */
function sentBytes(socket: Socket): number {
  const { _handle: handle } = socket as unknown as {
    _handle: { bytesWritten: number; writeQueueSize: number } | null;
  };
  return handle === null ? 0 : handle.bytesWritten - handle.writeQueueSize;
}
