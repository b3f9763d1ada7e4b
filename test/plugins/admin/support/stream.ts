import type { StreamEvents } from '../../../../plugins/admin/wire.js';

type Name = keyof StreamEvents;

/** A reader of the admin page's stream. */
export class StreamReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = '';

  constructor(answer: Response) {
    this.#reader = answer.body!.getReader();
  }

  /** The next event of this name that fits; undefined when the stream has ended. */
  async next<Wanted extends Name>(
    name: Wanted,
    fits: (data: StreamEvents[Wanted]) => boolean = () => true,
  ): Promise<StreamEvents[Wanted] | undefined> {
    for (;;) {
      for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
        const [, found, data] = /^event: (\w+)\ndata: (.*)$/.exec(this.#text.slice(0, end)) ?? [];
        this.#text = this.#text.slice(end + 2);
        if (found !== name) continue;
        const parsed = JSON.parse(data!) as StreamEvents[Wanted];
        if (fits(parsed)) return parsed;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  /** Also of a stream whose server is gone. */
  close(): Promise<void> {
    return this.#reader.cancel().catch(() => {});
  }
}
