import type { IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { isHost } from './request-head.js';

/** A forwarded-element of RFC 7239 section 4, as far as it is used: what one proxy says of the request that it received. */
interface Hop {
  /** The address of whoever sent it to that proxy; `unknown`, `_name` (section 6), or absent. */
  readonly for?: string | undefined;
  readonly proto?: string | undefined;
  readonly host?: string | undefined;
}

/**
 * Translates the header Forwarded into the X-Forwarded- headers that everything else reads. Of its elements, the one counts
 * that names the client: the last whose address is not a trusted proxy's. Call it only for a request of a trusted peer.
 *
 * A request that has any of those headers already keeps them, and Forwarded is ignored: most proxies write the X-Forwarded-
 * headers alone, and pass on a Forwarded that the client invented.
 */
export function adoptForwarded({ headers }: IncomingMessage, isTrusted: (address: string) => boolean): void {
  const { forwarded } = headers;
  if (forwarded === undefined || NAMES.some((name) => headers[name] !== undefined)) return;
  let client: Hop = {};
  for (const hop of hopsOf(forwarded)) {
    client = hop;
    if (hop.for === undefined || !isTrusted(hop.for)) break;
  }
  for (const [name, value] of [
    ['x-forwarded-for', client.for],
    ['x-forwarded-proto', client.proto],
    ['x-forwarded-host', client.host],
  ] as const) {
    if (value !== undefined) headers[name] = value;
  }
}

const NAMES = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'] as const;

/** How many commas a quoted value is believed to hold. No address or name has one. */
const MOST_COMMAS = 3;

/**
 * The elements from the last one on, each read from its end: what a proxy appends is whole, but a client can write a quote
 * before it that would swallow it. Where an element makes no sense, the rest is somebody `unknown`.
 */
function* hopsOf(text: string): Generator<Hop> {
  let end = text.length;
  while (end >= 0) {
    let comma = end;
    let hop: Hop | undefined;
    for (let tries = 0; hop === undefined && tries <= MOST_COMMAS && comma >= 0; tries += 1) {
      // lastIndexOf takes a negative index for 0.
      comma = comma === 0 ? -1 : text.lastIndexOf(',', comma - 1);
      hop = readElement(text.slice(comma + 1, end));
    }
    if (hop === undefined) {
      yield { for: 'unknown' };
      return;
    }
    if (hop !== EMPTY) yield hop;
    end = comma;
  }
}

/** A list may have empty elements (RFC 9110 section 5.6.1.2). */
const EMPTY: Hop = {};

/** RFC 7239 section 4: `token=value`, where value is a token or a quoted-string. */
const PAIR = /[ \t]*(?:([!#$%&'*+.^_`|~\w-]+)=(?:([!#$%&'*+.^_`|~\w-]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?(?:;|$)/y;

/** Undefined if it is not one. */
function readElement(text: string): Hop | undefined {
  const values = new Map<string, string>();
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < text.length) {
    const found = PAIR.exec(text);
    if (found === null) return undefined;
    const [, name, token, quoted] = found;
    if (name === undefined) continue;
    const key = name.toLowerCase();
    // Each at most once: it is unclear which one would count.
    if (values.has(key)) return undefined;
    values.set(key, token ?? quoted!.replaceAll(/\\(.)/g, '$1'));
  }
  if (values.size === 0) return EMPTY;
  const [node, proto, host] = [values.get('for'), values.get('proto')?.toLowerCase(), values.get('host')];
  return {
    for: node === undefined ? undefined : addressOf(node),
    proto: proto === 'http' || proto === 'https' ? proto : undefined,
    host: host !== undefined && host !== '' && isHost(host) ? host : undefined,
  };
}

/** RFC 7239 section 6: a node with or without a port, which may be obfuscated. */
const NODE = /^(?:\[([\da-f:.]+)\]|([\d.]+)|(_[\w.-]+))(?::(?:\d{1,5}|_[\w.-]+))?$/i;

function addressOf(node: string): string {
  const [, v6 = '', v4 = '', name] = NODE.exec(node) ?? [];
  if (isIPv6(v6)) return v6;
  if (isIPv4(v4)) return v4;
  return name ?? 'unknown';
}
