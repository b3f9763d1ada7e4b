import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { BSON, type Document } from 'mongodb';

/** What a relay does with a command: passes it on, or answers it itself. */
export type OnCommand = (command: Document, from: Socket) => Document | undefined;

export interface MongoRelay {
  /** `127.0.0.1:PORT/?directConnection=true`: otherwise the driver would go past it. */
  readonly url: string;
  close(): void;
}

/** Stands in front of a MongoDB server and sees the commands; a command that it answers does not reach the server. */
export async function startMongoRelay(host: string, onCommand: OnCommand): Promise<MongoRelay> {
  const [name, port] = host.split(':');
  const relay = createServer((client) => {
    const server = connect(Number(port), name);
    let received = Buffer.alloc(0);
    client.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= received.readInt32LE(0)) {
        const message = received.subarray(0, received.readInt32LE(0));
        received = received.subarray(message.length);
        const command = commandIn(message);
        const answer = command && onCommand(command, client);
        if (answer) client.write(answerTo(message, answer));
        else server.write(message);
      }
    });
    server.pipe(client);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy());
  });
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `127.0.0.1:${(relay.address() as AddressInfo).port}/?directConnection=true`,
    close: () => relay.close(),
  };
}

const opMsg = 2013;

function commandIn(message: Buffer): Document | undefined {
  if (message.readInt32LE(12) !== opMsg) return undefined;
  return BSON.deserialize(message.subarray(21, 21 + message.readInt32LE(21)));
}

function answerTo(message: Buffer, answer: Document): Buffer {
  const document = BSON.serialize(answer);
  const head = Buffer.alloc(21);
  head.writeInt32LE(head.length + document.length, 0);
  head.writeInt32LE(message.readInt32LE(4), 8);
  head.writeInt32LE(opMsg, 12);
  return Buffer.concat([head, document]);
}
