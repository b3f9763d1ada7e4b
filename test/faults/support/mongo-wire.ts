import { BSON, type Document } from 'mongodb';

/** A command of the MongoDB protocol: `{ find: 'sessions', filter, … }`. */
export type Command = Document;

/** The commands of one connection as they pass, and the answers to them. */
export class MongoWire {
  readonly #sent = new Map<number, Command>();
  readonly #fromClient = new Frames();
  readonly #fromServer = new Frames();

  /** Takes what the client sends. */
  send(chunk: Buffer): void {
    for (const frame of this.#fromClient.split(chunk)) {
      const command = commandIn(frame);
      if (command) this.#sent.set(frame.readInt32LE(4), command);
    }
  }

  /** The whole messages that this part of the server's completes, and the commands that they answer. */
  receive(chunk: Buffer): { readonly frame: Buffer; readonly answers: Command | undefined }[] {
    return this.#fromServer.split(chunk).map((frame) => {
      const id = frame.readInt32LE(8);
      const answers = this.#sent.get(id);
      this.#sent.delete(id);
      return { frame, answers };
    });
  }
}

/** Messages that arrive in pieces. Each begins with its length. */
class Frames {
  #rest: Buffer = Buffer.alloc(0);

  split(chunk: Buffer): Buffer[] {
    const frames: Buffer[] = [];
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 4 && this.#rest.length >= this.#rest.readInt32LE(0)) {
      const length = this.#rest.readInt32LE(0);
      frames.push(this.#rest.subarray(0, length));
      this.#rest = this.#rest.subarray(length);
    }
    return frames;
  }
}

const opMsg = 2013;
/** Bytes of the header, the flags and the kind of the first section. */
const bodyAt = 21;

/** Of an OP_MSG whose first section is its body, as the driver writes it; documents in other sections are left out. */
function commandIn(frame: Buffer): Command | undefined {
  if (frame.readInt32LE(12) !== opMsg || frame[bodyAt - 1] !== 0) return undefined;
  return BSON.deserialize(frame.subarray(bodyAt, bodyAt + frame.readInt32LE(bodyAt)));
}
