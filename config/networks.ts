import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { list } from './fields.js';

/** Addresses and networks such as `10.0.0.7`, `10.0.0.0/8` and `fd00::/8`, each in its shortest form; at least one. */
export function networks() {
  return list(
    z.string().transform((given, context) => {
      const refusal = judge(given);
      if (refusal === undefined) return shortForm(given);
      context.addIssue({ code: 'custom', message: refusal, input: given });
      return z.NEVER;
    }),
  ).refine((given) => given.length > 0, 'is empty; write an address, such as list:10.0.0.7');
}

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** Whether an address lies in one of these networks. IPv4 addresses that IPv6 sockets show as `::ffff:10.0.0.7` count as IPv4. */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const parsed = networks.map(parse);
  return (address) => {
    if (isIP(address) === 0) return false;
    const found = ipaddr.process(address);
    return parsed.some((network) => found.kind() === network[0].kind() && found.match(network as never));
  };
}

/** What is wrong with an item, and what to write instead. */
function judge(given: string): string | undefined {
  if (given.includes(',')) {
    const items = given.split(',').filter((item) => item !== '');
    return `a comma does not separate items; write list:${items.join(' ')}`;
  }
  const [address = '', bits] = given.split('/');
  const isAddress = ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address);
  if (!isAddress || address.includes('%') || (bits !== undefined && !ipaddr.isValidCIDR(given))) {
    return 'is not an address or a network; write an address such as 10.0.0.7, or a network such as 10.0.0.0/8';
  }
  // With bits beyond the prefix, it is unclear whether the address or the whole network is meant.
  const network = bits === undefined ? given : `${networkAddress(given)}/${bits}`;
  const isSame = ipaddr.parse(network.split('/', 1)[0]!).toString() === ipaddr.parse(address).toString();
  return isSame
    ? undefined
    : `has bits beyond /${bits}; write ${network} for the network, or ${address} alone`;
}

function networkAddress(network: string): string {
  return (network.includes(':') ? ipaddr.IPv6 : ipaddr.IPv4).networkAddressFromCIDR(network).toString();
}

function shortForm(given: string): string {
  const [address, bits] = parse(given);
  return bits === (address.kind() === 'ipv4' ? 32 : 128) ? address.toString() : `${address}/${bits}`;
}

function parse(given: string): Network {
  if (!given.includes('/')) {
    const address = ipaddr.process(given);
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  }
  const [address, bits] = ipaddr.parseCIDR(given);
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96
    ? [address.toIPv4Address(), bits - 96]
    : [address, bits];
}
