import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Command, MongoWire } from './mongo-wire.js';

/**
 * What the proxy does with what it carries: `pass` it on, `delay` it by 200 ms, `stall` it until the next mode, `drop`
 * it for good (the connection with it, at the next mode), `reset` every connection, or end (`halfClose`) its way to the
 * server. New connections are treated alike.
 */
export type Mode = 'pass' | 'delay' | 'stall' | 'drop' | 'reset' | 'halfClose';

const delay = 200;

/** Called before an answer of the MongoDB protocol is passed on, which waits until it has settled. */
export type BeforeAnswer = (command: Command, clientPort: number) => void | Promise<void>;

/** A TCP proxy in front of one port of this machine, that can be told to misbehave. */
export class FaultyProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #mode: Mode = 'pass';

  private constructor(target: number, beforeAnswer: BeforeAnswer | undefined) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const server = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
      const pair = new Pair(client, server, beforeAnswer);
      this.#pairs.add(pair);
      client.once('close', () => this.#pairs.delete(pair));
      pair.treat(this.#mode);
    });
  }

  static async start(target: number, beforeAnswer?: BeforeAnswer): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target, beforeAnswer);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  set mode(mode: Mode) {
    this.#mode = mode;
    for (const pair of this.#pairs) pair.treat(mode);
  }

  close(): void {
    this.#server.close();
    for (const pair of this.#pairs) pair.destroy();
  }
}

class Pair {
  #mode: Mode = 'pass';

  constructor(
    readonly client: Socket,
    readonly server: Socket,
    beforeAnswer: BeforeAnswer | undefined,
  ) {
    if (beforeAnswer) this.#watch(beforeAnswer);
    this.#carry(client, server);
    if (!beforeAnswer) this.#carry(server, client);
  }

  treat(mode: Mode): void {
    const before = this.#mode;
    this.#mode = mode;
    if (before === 'drop' && mode !== 'drop') this.destroy();
    else if (mode === 'reset') {
      this.client.resetAndDestroy();
      this.server.resetAndDestroy();
    } else if (mode === 'halfClose') this.server.end();
    for (const socket of [this.client, this.server]) {
      if (mode === 'stall') socket.pause();
      else socket.resume();
    }
  }

  destroy(): void {
    this.client.destroy();
    this.server.destroy();
  }

  #watch(beforeAnswer: BeforeAnswer): void {
    const { client, server } = this;
    const wire = new MongoWire();
    const port = client.remotePort!;
    client.on('data', (chunk: Buffer) => wire.send(chunk));
    let passed: Promise<unknown> = Promise.resolve();
    server.on('data', (chunk: Buffer) => {
      for (const { frame, answers } of wire.receive(chunk)) {
        passed = passed
          .then(() => answers && beforeAnswer(answers, port))
          .then(() => this.#pass(frame, client));
      }
    });
    this.#join(server, client);
  }

  #carry(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => this.#pass(chunk, to));
    this.#join(from, to);
  }

  #pass(chunk: Buffer, to: Socket): void {
    if (this.#mode === 'drop') return;
    const send = () => {
      if (to.writable) to.write(chunk);
    };
    if (this.#mode === 'delay') setTimeout(send, delay);
    else send();
  }

  #join(from: Socket, to: Socket): void {
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
}
