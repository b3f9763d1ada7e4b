import type { Loss, Message } from './message.js';
import type { Send } from './paced-sender.js';

/** Carries messages between the processes of a server. */
export interface ChannelLink {
  readonly publish: Send;
  /** Resolves when messages of this topic arrive from now on. */
  subscribe(topic: string): Promise<void>;
  unsubscribe(topic: string): void;
  /** Told of what arrives. Set once, before anything is subscribed to. */
  onMessages: (messages: readonly Message[], losses: readonly Loss[]) => void;
}

/** For a server that is a single process: every message comes back. */
export class LocalLink implements ChannelLink {
  onMessages: ChannelLink['onMessages'] = () => {};

  readonly publish: Send = (messages, losses, done) => {
    this.onMessages(messages, losses);
    queueMicrotask(done);
  };

  async subscribe(): Promise<void> {}

  unsubscribe(): void {}
}
