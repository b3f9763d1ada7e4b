import type { ServerResponse } from 'node:http';

/**
 * Closes the connection of a client that takes nothing of its answer for that many milliseconds. An answer that waits
 * for its plugin, such as a stream of events in a quiet time, is left alone.
 */
export function limitSending(response: ServerResponse, timeout: number): void {
  // Nearly always the system has taken all of it by now.
  if (response.writableEnded && response.writableLength === 0) return;
  const { socket } = response;
  // The socket's own timer starts anew with each part that goes out, and Node sets it back for the next request.
  response.setTimeout(timeout, () => {
    if (socket !== null && socket.writableLength > 0) socket.destroy();
  });
}
