import { isIP } from 'node:net';
import type { Context } from 'plugin-server';

/** What a request tells of the visitor that sends it. */
export function visitorOf(ctx: Context): { ip?: string; user_agent?: string } {
  // An IPv4 client of a socket for both families.
  const ip = ctx.ip.replace(/^::ffff:(?=[\d.]+$)/i, '');
  const user_agent = ctx.get('User-Agent');
  return { ...(isIP(ip) !== 0 && { ip }), ...(user_agent !== '' && { user_agent }) };
}
