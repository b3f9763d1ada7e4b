import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** An IPv4 address, or the /64 network of an IPv6 one, which is the least that one host is given. */
export function addressGroup(address: string): string {
  const plain = withoutMapping(address);
  if (!plain.includes(':') || isIP(plain) === 0) return plain;
  const parsed = ipaddr.process(plain);
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  return parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':');
}

/** The network that a client is counted with in the log: `192.0.2.0/24`, `2001:db8:0:1::/64`; else the text itself. */
export function clientNetwork(address: string): string {
  if (isIP(address) === 0) return address;
  const parsed = ipaddr.process(address);
  if (parsed instanceof ipaddr.IPv4) return `${parsed.octets.slice(0, 3).join('.')}.0/24`;
  return `${addressGroup(address)}::/64`;
}

/** A socket that listens on `::` has IPv4 peers as `::ffff:192.0.2.1`. */
function withoutMapping(address: string): string {
  return /^::ffff:([\d.]+)$/.exec(address)?.[1] ?? address;
}
