import type { IncomingMessage } from 'node:http';

/** Looks at a request this many times within its timeout. */
const LOOKS = 8;

/**
 * Calls `onLate` when nothing of a request's body arrives for that many milliseconds: for a body that its handler reads
 * by itself, however long it is. Time in which the handler reads nothing does not count. Gives the way to end it.
 */
export function limitReceiving(request: IncomingMessage, timeout: number, onLate: () => void): () => void {
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
  return () => clearInterval(timer);
}

/**
 * Calls `onExceeded` once when more than `limit` bytes of a body have come in; whoever reads the request gets none of those
 * beyond.
 */
export function limitLength(request: IncomingMessage, limit: number, onExceeded: () => void): void {
  let left = limit - request.readableLength;
  const push = request.push.bind(request);
  request.push = (chunk: Buffer | null) => {
    if (chunk === null || left < 0) return left < 0 ? true : push(null);
    left -= chunk.length;
    if (left >= 0) return push(chunk);
    onExceeded();
    return true;
  };
}
