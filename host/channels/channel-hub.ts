import { type Loss, type Message, RECEIVER_LIMITS } from './message.js';
import { PacedSender } from './paced-sender.js';

/** A process that receives messages. */
export interface Receiver {
  sendMessages(messages: readonly Message[], losses: readonly Loss[], done: () => void): void;
}

interface Subscription {
  readonly topics: Set<string>;
  readonly sender: PacedSender;
}

/** Passes each message on to every process that has subscribed to its topic. A slow process does not delay the others. */
export class ChannelHub<Process extends Receiver> {
  readonly #subscriptions = new Map<Process, Subscription>();

  subscribe(process: Process, topic: string): void {
    let subscription = this.#subscriptions.get(process);
    if (subscription === undefined) {
      const sender = new PacedSender(
        (messages, losses, done) => process.sendMessages(messages, losses, done),
        RECEIVER_LIMITS,
      );
      subscription = { topics: new Set(), sender };
      this.#subscriptions.set(process, subscription);
    }
    subscription.topics.add(topic);
  }

  unsubscribe(process: Process, topic: string): void {
    this.#subscriptions.get(process)?.topics.delete(topic);
  }

  publish(messages: readonly Message[]): void {
    for (const { topics, sender } of this.#subscriptions.values()) {
      for (const message of messages) if (topics.has(message[0])) sender.push(message);
    }
  }

  remove(process: Process): void {
    this.#subscriptions.delete(process);
  }
}
