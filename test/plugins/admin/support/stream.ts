import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';
import type { StreamEvents } from '../../../../plugins/admin/wire.js';

type Name = keyof StreamEvents;

/** A reader of the admin page's stream. */
export class StreamReader {
  readonly #reader: ReadableStreamDefaultReader<EventSourceMessage>;

  constructor(answer: Response) {
    this.#reader = answer
      .body!.pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
  }

  /** The next event of this name that fits; undefined when the stream has ended. */
  async next<Wanted extends Name>(
    name: Wanted,
    fits: (data: StreamEvents[Wanted]) => boolean = () => true,
  ): Promise<StreamEvents[Wanted] | undefined> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      if (value.event !== name) continue;
      const parsed = JSON.parse(value.data) as StreamEvents[Wanted];
      if (fits(parsed)) return parsed;
    }
  }

  /** Also of a stream whose server is gone. */
  close(): Promise<void> {
    return this.#reader.cancel().catch(() => {});
  }
}
