import type { IncomingMessage } from 'node:http';
import { hostError } from '../errors.js';

const WEBSOCKET = /(?:^|,)\s*websocket\s*(?:,|$)/i;
const UPGRADE = /(?:^|,)\s*upgrade\s*(?:,|$)/i;
/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** Of RFC 6455, and of the last drafts before it, which differ in nothing that counts here. */
const VERSIONS = new Set(['13', '8']);

/** The subprotocols that the client offers, the preferred one first. Throws unless the request opens a WebSocket (RFC 6455 section 4.2.1). */
export function readHandshake({ method, headers, httpVersionMinor }: IncomingMessage): readonly string[] {
  const { upgrade = '', connection = '' } = headers;
  if (method !== 'GET' || !WEBSOCKET.test(upgrade) || !UPGRADE.test(connection) || httpVersionMinor === 0) {
    throw hostError('websocket_required', {
      headers: { Upgrade: 'websocket', Connection: 'close, Upgrade' },
    });
  }
  if (!VERSIONS.has(headers['sec-websocket-version'] ?? '')) {
    throw hostError('unsupported_websocket_version', {
      headers: { Upgrade: 'websocket', Connection: 'close, Upgrade', 'Sec-WebSocket-Version': '13' },
    });
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) throw hostError('invalid_websocket_handshake');
  const offered = headers['sec-websocket-protocol'];
  return offered === undefined ? [] : offered.split(',').map((name) => name.trim());
}

/** The subprotocol of a connection: the first offered that is listed; undefined where none is offered. */
export function chooseProtocol(offered: readonly string[], listed: readonly string[]): string | undefined {
  if (offered.length === 0) return undefined;
  const chosen = offered.find((name) => listed.includes(name));
  if (chosen === undefined) throw hostError('unsupported_subprotocol', { listed });
  return chosen;
}
