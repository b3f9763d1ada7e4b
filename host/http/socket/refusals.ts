import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { HttpError } from '../../kit/http-error.js';
import { hostError } from '../errors.js';
import { malformed } from './malformed.js';
import { rawError, sayGoodbye } from './raw-response.js';
import { limitLength, limitReceiving } from './receive-limits.js';
import { type HostResponse, LATEST } from './response.js';

const REFUSED = Symbol('nothing more is read from this connection');

interface Tracked extends Socket {
  [LATEST]?: HostResponse | undefined;
  [REFUSED]?: boolean;
}

export interface RefusalOptions {
  readonly log: Logger;
  readonly tls: boolean;
  /** Milliseconds. */
  readonly requestTimeout: number;
}

/**
 * Answers what never becomes a request: what Node's parser refuses, what is late, CONNECT. Such an answer is written past
 * Node's responses, so it waits until those before it are out, or its connection ends without it.
 */
export class Refusals {
  readonly #options: RefusalOptions;

  constructor(options: RefusalOptions) {
    this.#options = options;
  }

  /** Notes a request's response, which everything that comes after it on the connection waits for. */
  track(request: IncomingMessage, response: HostResponse): void {
    (request.socket as Tracked)[LATEST] = response;
    if (request.headers.upgrade !== undefined) response.noteTakeover();
  }

  /** Its answer is an event stream, or it speaks another protocol: neither ends by itself. */
  isStreaming(socket: Socket): boolean {
    const latest = (socket as Tracked)[LATEST];
    return latest !== undefined && !latest.complete && (latest.takenOver || latest.isEventStream);
  }

  isTakenOver(socket: Socket): boolean {
    return (socket as Tracked)[LATEST]?.takenOver === true;
  }

  /** Answers what Node's parser or its timer refused. */
  onClientError(error: NodeJS.ErrnoException, duplex: Duplex): void {
    const socket = duplex as Tracked;
    if (socket[REFUSED]) return;
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const latest = socket[LATEST];
    // The bytes are those of another protocol, and no timer of a request holds for them.
    if (latest?.takenOver) return;
    const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (late && latest?.ownTimer && !latest.req.complete) return;
    socket[REFUSED] = true;
    const refusal = malformed(error);
    const refuse = () => this.#refuse(socket, refusal, error.code);
    if (latest === undefined || latest.closed || latest.complete) refuse();
    else if (latest.req.complete) latest.once('close', refuse);
    else if (latest.socket === null) latest.once('socket', () => this.#refuseBody(socket, latest, refusal));
    else this.#refuseBody(socket, latest, refusal);
  }

  /**
   * Watches over a body that its handler reads, in place of Node's timer, which counts from the request's beginning: it may
   * take any time while bytes come in. `timeout` is in milliseconds.
   */
  watchUnread(
    request: IncomingMessage,
    response: HostResponse,
    timeout: number = this.#options.requestTimeout,
  ): void {
    response.stopTimer();
    response.stopTimer = limitReceiving(request, timeout, () => this.#cutBody(request, response, LATE));
  }

  /** Gives the whole request so many milliseconds from its head on, in place of Node's timer. */
  limitArrival(request: IncomingMessage, response: HostResponse, timeout: number): void {
    if (request.complete) return;
    response.stopTimer();
    const late = () => {
      if (!request.complete && !request.destroyed) this.#cutBody(request, response, LATE);
    };
    const timer = setTimeout(late, response.startedAt + timeout - performance.now()).unref();
    response.stopTimer = () => clearTimeout(timer);
    response.once('close', response.stopTimer);
  }

  /** Refuses a body that has more than `limit` bytes while its handler reads it, which gets none of those beyond. */
  limitBytes(request: IncomingMessage, response: HostResponse, limit: number): void {
    limitLength(request, limit, () =>
      this.#cutBody(request, response, hostError('body_too_large', { limit })),
    );
  }

  #cutBody(request: IncomingMessage, response: HostResponse, refusal: HttpError): void {
    const socket = request.socket as Tracked;
    socket[REFUSED] = true;
    // Whoever reads the body learns why it ends. Destroyed earlier, the request would take the connection with it.
    socket.prependOnceListener('close', () => request.destroy(refusal));
    this.#refuseBody(socket, response, refusal);
  }

  onConnect(_request: IncomingMessage, duplex: Duplex): void {
    const socket = duplex as Tracked;
    const latest = socket[LATEST];
    socket[REFUSED] = true;
    // Node has let go of the socket, and of the flow of what is still being answered.
    if (latest !== undefined && !latest.closed && !latest.complete) socket.destroy();
    else this.#refuse(socket, NO_TUNNEL, 'CONNECT');
  }

  #refuse(socket: Socket, refusal: HttpError, reason: string | undefined): void {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const { text, id } = rawError(refusal, this.#options.tls);
    const { remoteAddress: remote } = socket;
    this.#options.log.info({ request_id: id, status: refusal.status, reason, remote }, 'malformed request');
    sayGoodbye(socket, text);
  }

  /** Answers a request whose body is malformed or late, under the request's own id, unless it has been answered. */
  #refuseBody(socket: Socket, response: HostResponse, refusal: HttpError): void {
    if (response.headersSent || !socket.writable) {
      // Half a response is out. Only a broken connection tells the client that it is not a whole one.
      socket.destroy();
      return;
    }
    response.rawStatus = refusal.status;
    sayGoodbye(socket, rawError(refusal, this.#options.tls, response.requestId).text);
  }
}

const LATE = malformed({ code: 'ERR_HTTP_REQUEST_TIMEOUT' });
const NO_TUNNEL = hostError('not_implemented', { method: 'CONNECT' });
