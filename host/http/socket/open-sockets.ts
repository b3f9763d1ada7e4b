import type { Socket } from 'node:net';

const PLACE = Symbol('the place of a connection in the list of those that are open');

interface Listed extends Socket {
  [PLACE]?: number;
}

/**
 * The connections that are open. Not a Set: V8 gives a Set a new table each time as many members have left as fit into it,
 * and the old table points to the new one. Once one old table has survived two collections, it keeps alive all tables that
 * came after it, with every connection that was ever in them and its last request, until a collection of the whole heap.
 */
export class OpenSockets {
  readonly #list: Listed[] = [];
  readonly #onClose: (this: Socket) => void;

  constructor() {
    const list = this.#list;
    this.#onClose = function (this: Listed) {
      const last = list.pop()!;
      if (last === this) return;
      const place = this[PLACE]!;
      list[place] = last;
      last[PLACE] = place;
    };
  }

  add(socket: Listed): void {
    socket[PLACE] = this.#list.push(socket) - 1;
    socket.on('close', this.#onClose);
  }

  get size(): number {
    return this.#list.length;
  }

  [Symbol.iterator](): Iterator<Socket> {
    return this.#list.values();
  }

  /** Resolves when the last one has closed. */
  async ended(): Promise<void> {
    for (let last = this.#list.at(-1); last !== undefined; last = this.#list.at(-1)) {
      const socket = last;
      await new Promise<void>((resolve) => socket.once('close', () => resolve()));
    }
  }
}
