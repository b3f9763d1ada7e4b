import type { IncomingMessage } from 'node:http';

/** Looks at a request this many times within its timeout. */
const LOOKS = 8;

/**
 * Calls `onLate` when nothing of a request's body arrives for that many milliseconds: for a body that its handler reads
 * by itself, however long it is. Time in which the handler reads nothing does not count.
 */
export function limitReceiving(request: IncomingMessage, timeout: number, onLate: () => void): void {
  const { socket } = request;
  let received = socket.bytesRead;
  let since = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    if (request.complete || request.destroyed) {
      clearInterval(timer);
    } else if (socket.bytesRead > received || request.readableLength >= request.readableHighWaterMark) {
      received = socket.bytesRead;
      since = now;
    } else if (now - since >= timeout) {
      clearInterval(timer);
      onLate();
    }
  }, timeout / LOOKS).unref();
}
