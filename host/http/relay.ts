import { type ClientRequest, type IncomingMessage, type RequestListener, request } from 'node:http';
import type { Socket } from 'node:net';
import { Router } from '@koa/router';
import type Koa from 'koa';
import type { Control } from '../control.js';
import { hostError } from './errors.js';
import type { Mount } from './mounts.js';
import type { HostResponse } from './socket/response.js';
import { isUnixSocket } from './trusted-peers.js';

export interface RelayOptions {
  /** Of the Unix socket on which the workers accept what is relayed to them. */
  readonly socketPath: string;
  readonly control: Pick<Control, 'heard'> | undefined;
}

/** How often it is asked whether a worker responds, while a response does not begin. Milliseconds. */
const WATCH = 500;

/** The header that tells a worker the address of the peer. */
const PEER = 'plugin-server-peer';
/** Its value for a peer on a Unix socket, which has no address. */
const UNIX_PEER = 'unix';

/**
 * Serves every path that no other mount has: a worker responds, over a connection of its own for each request. This process
 * runs no plugin, so that it responds whatever the workers do: when all of them are silent, with a 503 that names them.
 */
export function relayMount({ socketPath, control }: RelayOptions): Mount {
  const relay: Koa.Middleware = async (ctx) => {
    const response = await ask(ctx as never, socketPath, control);
    (ctx.res as HostResponse).relayed = true;
    ctx.status = response.statusCode!;
    ctx.body = response;
    ctx.remove('Content-Type');
    for (const [name, value] of Object.entries(response.headersDistinct)) {
      if (!HOP_BY_HOP.has(name)) ctx.set(name, value!.length === 1 ? value![0]! : value!);
    }
  };
  return {
    name: '',
    path: '',
    router: new Router(),
    keys: undefined,
    middleware: [relay],
    // The worker decides about all of these.
    anyHost: true,
    unmetered: true,
    cors: (_ctx, next) => next(),
  };
}

/** Lets what a relay has passed on look as if it had come from the client itself. */
export function fromRelay(listener: RequestListener, isTls: boolean): RequestListener {
  return (relayed, response) => {
    const { headers, socket } = relayed;
    const peer = headers[PEER];
    delete headers[PEER];
    if (typeof peer === 'string' && peer !== UNIX_PEER)
      Object.defineProperty(socket, 'remoteAddress', { value: peer });
    if (isTls) Object.assign(socket, { encrypted: true });
    listener(relayed, response);
  };
}

/** RFC 9110 section 7.6.1: they are for one connection. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Resolves when the head of the worker's response is there. */
function ask(
  ctx: Koa.Context,
  socketPath: string,
  control: RelayOptions['control'],
): Promise<IncomingMessage> {
  const { req, res } = ctx;
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath,
      agent: false,
      method: req.method,
      path: req.url,
      headers: headersFor(req, (res as HostResponse).requestId),
      setHost: false,
    });
    const watch = watchWorkers(sent, control);
    const settle = (finish: () => void) => {
      clearInterval(watch);
      finish();
    };
    sent.on('response', (response) => settle(() => resolve(response)));
    sent.on('error', (error) => {
      const silent = error instanceof SilentWorkers ? error.pids : undefined;
      settle(() =>
        reject(
          silent === undefined
            ? hostError('worker_lost', { cause: error })
            : hostError('workers_silent', { pids: silent }, { headers: { 'Retry-After': '1' } }),
        ),
      );
    });
    res.once('close', () => sent.destroy());
    req.pipe(sent);
  });
}

class SilentWorkers extends Error {
  constructor(readonly pids: readonly number[]) {
    super('no worker responds');
  }
}

/** Gives up when every worker is silent: a request that only takes long goes on. */
function watchWorkers(sent: ClientRequest, control: RelayOptions['control']): NodeJS.Timeout {
  let isAsking = false;
  return setInterval(async () => {
    if (isAsking || control?.heard === undefined) return;
    isAsking = true;
    const { workers, silent } = await control.heard();
    isAsking = false;
    if (silent.length === workers.length) sent.destroy(new SilentWorkers(silent));
  }, WATCH);
}

function headersFor(req: IncomingMessage, requestId: string): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  const named = (req.headers.connection ?? '').toLowerCase().split(/[ \t]*,[ \t]*/);
  for (const [name, values] of Object.entries(req.headersDistinct)) {
    if (!HOP_BY_HOP.has(name) && name !== 'expect' && !named.includes(name))
      headers[name] = values!.length === 1 ? values![0]! : values!;
  }
  // Its body is chunked: no other coding has come this far.
  if (req.headers['transfer-encoding'] !== undefined) headers['transfer-encoding'] = 'chunked';
  headers['x-request-id'] = requestId;
  headers[PEER] = peerOf(req.socket);
  return headers;
}

function peerOf(socket: Socket): string {
  const { remoteAddress } = socket;
  if (remoteAddress !== undefined) return remoteAddress;
  if (isUnixSocket(socket)) return UNIX_PEER;
  // The client has gone. Its request must not count as one over a Unix socket.
  throw Object.assign(new Error('the client disconnected'), { code: 'ECONNRESET' });
}
