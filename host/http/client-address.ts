import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Some proxies write the port into X-Forwarded-For: `7.7.7.7:4001`, `[2001:db8::1]:4001`. */
export function withoutPort(address: string): string {
  if (address.startsWith('[')) return address.slice(1).split(']', 1)[0]!;
  const colon = address.indexOf(':');
  return colon >= 0 && colon === address.lastIndexOf(':') ? address.slice(0, colon) : address;
}

/** An IPv4 address, or the /64 network of an IPv6 one, which is the least that one host is given. */
export function addressGroup(address: string): string {
  if (isIP(address) === 0) return address;
  const parsed = ipaddr.process(address);
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  return parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':');
}
