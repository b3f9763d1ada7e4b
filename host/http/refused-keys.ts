import type Koa from 'koa';
import { type Audit, callerOf } from '../kit/audit.js';
import { clientNetwork } from './client-address.js';
import type { HostResponse } from './socket/response.js';

/** Milliseconds from one line about a network to the next. */
const PERIOD = 60_000;
/** How many networks have lines of their own. All others share one, so that many addresses fill neither log nor memory. */
export const MAX_NETWORKS = 100;
const ALL_OTHERS = 'others';

/**
 * Logs refused API keys: the first of a client's network at once, then one line a minute with their number for as long as they
 * come. A network is a /24 of IPv4 or a /64 of IPv6. Each process counts for itself.
 */
export class RefusedKeys {
  readonly #audit: Audit;
  readonly #networks = new Map<string, { count: number; timer: NodeJS.Timeout }>();

  constructor(audit: Audit) {
    this.#audit = audit;
  }

  /** A request came with a wrong key. */
  add(ctx: Koa.Context): void {
    const caller = callerOf(ctx);
    const own = clientNetwork(caller.client);
    const network = this.#networks.has(own) || this.#networks.size < MAX_NETWORKS ? own : ALL_OTHERS;
    const known = this.#networks.get(network);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    this.#networks.set(network, { count: 0, timer: this.#tellLater(network) });
    const plugin = (ctx.res as HostResponse).route?.plugin;
    this.#audit('key_refused', { network, count: 1, plugin, ...caller }, 'an API key was refused');
  }

  /** Logs what is not logged yet. */
  close(): void {
    for (const [network, { count, timer }] of this.#networks) {
      clearTimeout(timer);
      if (count > 0) this.#tell(network, count);
    }
    this.#networks.clear();
  }

  #tellLater(network: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      const { count } = this.#networks.get(network)!;
      this.#networks.delete(network);
      if (count === 0) return;
      this.#tell(network, count);
      this.#networks.set(network, { count: 0, timer: this.#tellLater(network) });
    }, PERIOD);
    return timer.unref();
  }

  #tell(network: string, count: number): void {
    this.#audit('key_refused', { network, count }, 'API keys were refused since the last such line');
  }
}
