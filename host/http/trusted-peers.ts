import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type Koa from 'koa';
import { networkTest } from '../../config/index.js';
import { withoutPort } from '../kit/audit.js';
import { adoptForwarded } from './forwarded.js';

/** Whose X-Forwarded- headers, and whose Forwarded, are trusted. */
export interface TrustedPeers {
  /** Whether the peer of this connection is one of them. A peer on a Unix socket is: file permissions decide who connects. */
  trusts(socket: Socket): boolean;
  /**
   * The client's address from X-Forwarded-For: the last entry that is not a trusted proxy. Each proxy appends the address that
   * it saw; a client can invent the entries before. Without the port that some proxies add. Empty if the header is absent.
   */
  clientOf(request: IncomingMessage): string;
  /** Whether this address is one of them. */
  includes(address: string): boolean;
}

/** `true`: every peer is trusted, but the address that it names is the client's, whatever it is. */
export function trustedPeers(networks: readonly string[] | true): TrustedPeers {
  const isTrusted = networks === true ? () => false : networkTest(networks);
  const known = new WeakMap<Socket, boolean>();
  return {
    includes: isTrusted,
    trusts(socket) {
      if (networks === true) return true;
      let trusted = known.get(socket);
      if (trusted === undefined) {
        const { remoteAddress } = socket;
        trusted = remoteAddress === undefined ? isUnixSocket(socket) : isTrusted(remoteAddress);
        known.set(socket, trusted);
      }
      return trusted;
    },
    clientOf({ headers }) {
      const addresses = String(headers['x-forwarded-for'] ?? '').split(',');
      let client = '';
      while (addresses.length > 0) {
        client = withoutPort(addresses.pop()!.trim());
        if (!isTrusted(client)) break;
      }
      return client;
    },
  };
}

/**
 * Koa reads `proxy` of the application, for all requests alike. A request of any other peer gets an application to read it
 * from that inherits everything but this setting.
 */
export function believeOnly(application: Koa, peers: TrustedPeers): void {
  const unbelieving: Koa = Object.create(application, { proxy: { value: false } });
  const createContext = application.createContext.bind(application);
  application.createContext = (request, response) => {
    const ctx = createContext(request, response);
    if (peers.trusts(request.socket)) adoptForwarded(request, peers.includes);
    else ctx.request.app = unbelieving;
    return ctx as never;
  };
  Object.defineProperty(application.request, 'ips', {
    get(this: Koa.Request) {
      const client = this.app.proxy ? peers.clientOf(this.req) : '';
      return client === '' ? [] : [client];
    },
  });
}

/** A TCP peer that has reset its connection no longer has an address; the local end keeps its own. */
export function isUnixSocket(socket: Socket): boolean {
  return !socket.destroyed && socket.localAddress === undefined;
}
