import { expect } from 'chai';
import type { Channel } from 'plugin-server';

/**
 * A channel between processes of a host. It delivers copies, in order, to the publisher as well. `way.isOpen` says whether
 * a value reaches the subscriber of that number.
 */
export function makeChannel<T>() {
  const subscribers = new Set<(value: T) => void>();
  const sent: T[] = [];
  const way = { isOpen: (_value: T, _to: number) => true };
  const channel = (): Channel<T> => ({
    publish(value) {
      const text = JSON.stringify(value);
      expect(text.length).to.be.below(65_536);
      sent.push(value);
      for (const [to, deliver] of [...subscribers].entries())
        if (way.isOpen(value, to)) setImmediate(() => deliver(JSON.parse(text)));
    },
    subscribe(handler) {
      subscribers.add(handler);
      return () => subscribers.delete(handler);
    },
  });
  return { channel, sent, way };
}
