import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { BSON, type Document } from 'mongodb';

/** What a command is answered: by its name, or undefined for success with an empty result. */
export type Script = (command: string) => { readonly code: number; readonly errmsg: string } | undefined;

export interface ScriptedMongo {
  readonly host: string;
  close(): Promise<void>;
}

/**
 * A server that speaks the MongoDB protocol and holds nothing: for what hosted services answer, with codes and messages
 * that no server of one's own gives.
 */
export async function startScriptedMongo(script: Script): Promise<ScriptedMongo> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let received = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= received.readInt32LE(0)) {
        const message = received.subarray(0, received.readInt32LE(0));
        received = received.subarray(message.length);
        socket.write(reply(message, script));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const opReply = 1;
const opQuery = 2004;
const opMsg = 2013;

function reply(message: Buffer, script: Script): Buffer {
  const isQuery = message.readInt32LE(12) === opQuery;
  const at = isQuery ? message.indexOf(0, 20) + 9 : 21;
  const command = BSON.deserialize(message.subarray(at, at + message.readInt32LE(at)));
  const document = BSON.serialize(answer(Object.keys(command)[0]!, script));
  const head = Buffer.alloc(isQuery ? 36 : 21);
  if (isQuery) head.writeInt32LE(1, 32);
  head.writeInt32LE(head.length + document.length, 0);
  head.writeInt32LE(message.readInt32LE(4), 8);
  head.writeInt32LE(isQuery ? opReply : opMsg, 12);
  return Buffer.concat([head, document]);
}

function answer(command: string, script: Script): Document {
  if (/^(?:hello|ismaster)$/i.test(command)) return hello;
  const refused = script(command);
  if (refused !== undefined) return { ok: 0, codeName: 'Refused', ...refused };
  return { ok: 1, n: 1, cursor: { id: BSON.Long.ZERO, ns: 'sessman.sessions', firstBatch: [] } };
}

const hello = {
  ok: 1,
  ismaster: true,
  isWritablePrimary: true,
  helloOk: true,
  minWireVersion: 0,
  maxWireVersion: 21,
  maxBsonObjectSize: 16 * 1024 * 1024,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  saslSupportedMechs: ['SCRAM-SHA-256'],
};
