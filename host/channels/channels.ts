import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { Channel, ChannelOptions } from '../kit/channel.js';
import { withDeadline } from '../kit/deadline.js';
import { jsonText } from '../kit/json-text.js';
import { type ChannelLink, LocalLink } from './link.js';
import { type Loss, MAX_MESSAGE, type Message, RECEIVER_LIMITS } from './message.js';
import { PacedSender } from './paced-sender.js';
import { Subscriber } from './subscriber.js';

/** The plugin that a channel belongs to. */
export interface ChannelPlugin {
  readonly name: string;
  /** The name of its data. */
  readonly dataName: string;
  readonly log: Logger;
  /** Aborts when the plugin closes: its subscriptions end. */
  readonly signal: AbortSignal;
}

/** Carries messages to other hosts. */
export interface ChannelRelay {
  publish(message: Message): void;
  close(): Promise<void>;
}

export interface ChannelsOptions {
  readonly registry: Registry;
  /** Without one, this process is all of this host. */
  readonly link?: ChannelLink | undefined;
  /** Opens the way to other hosts, where there are any. */
  readonly relay?:
    | ((events: {
        readonly onMessages: (messages: readonly Message[]) => void;
        readonly onDropped: (topic: string, count: number) => void;
      }) => Promise<ChannelRelay>)
    | undefined;
}

interface Topic {
  readonly subscribers: Set<Subscriber>;
  /** Resolves when messages arrive here. */
  inForce: Promise<void>;
  readonly drop: (count: number) => void;
}

/** How long the last published values may take to leave this process, in milliseconds. */
const FAREWELL = 1000;

/** The channels of all plugins, as one process has them. */
export class Channels {
  readonly #link: ChannelLink;
  readonly #outbox: PacedSender;
  readonly #topics = new Map<string, Topic>();
  readonly #dropped: Counter<'plugin' | 'channel'>;
  readonly #openRelay: ChannelsOptions['relay'];
  /** Opened for the first channel that reaches other hosts. */
  #relay: Promise<ChannelRelay> | undefined;

  constructor({ registry, link = new LocalLink(), relay }: ChannelsOptions) {
    this.#link = link;
    this.#openRelay = relay;
    // A burst goes out as a whole: only receivers may be too slow for it.
    this.#outbox = new PacedSender(link.publish, { ...RECEIVER_LIMITS, values: Number.POSITIVE_INFINITY });
    link.onMessages = (messages, losses) => this.#deliver(messages, losses);
    this.#dropped = new Counter({
      name: 'plugin_server_channel_dropped_total',
      help: 'Values of channels that were dropped because a subscriber was too slow.',
      labelNames: ['plugin', 'channel'],
      registers: [registry],
    });
  }

  /** Throws when the name is not valid. */
  channel<T>(plugin: ChannelPlugin, name: string, { reach = 'all' }: ChannelOptions = {}): Channel<T> {
    if (!/^[a-z0-9_-]{1,64}$/.test(name))
      throw new TypeError(
        `channel(${JSON.stringify(name)}): a name has 1 to 64 characters of a-z, 0-9, _ and -`,
      );
    const topic = `${plugin.dataName.toLowerCase()}/${name}`;
    if (reach === 'all' && this.#openRelay !== undefined && this.#relay === undefined) {
      this.#relay = this.#openRelay({
        onMessages: (messages) => this.#deliver(messages, []),
        onDropped: (lost, count) => this.#topics.get(lost)?.drop(count),
      });
      // `ready` reports it.
      this.#relay.catch(() => {});
    }
    return {
      publish: (value) => {
        const message = [topic, encode(name, value)] as const;
        this.#outbox.push(message);
        if (reach === 'all') this.#relay?.then((relay) => relay.publish(message));
      },
      subscribe: (handler) => {
        if (typeof handler !== 'function')
          throw new TypeError(`channel("${name}").subscribe: the handler is not a function`);
        return this.#subscribe(plugin, name, topic, handler);
      },
    };
  }

  /** Resolves when all subscriptions made so far are in force. */
  async ready(): Promise<void> {
    await Promise.all([this.#relay, ...[...this.#topics.values()].map(({ inForce }) => inForce)]);
  }

  /** Sends out what has been published. */
  async close(): Promise<void> {
    await withDeadline(FAREWELL, () => this.#outbox.emptied()).catch(() => {});
    const relay = await this.#relay?.catch(() => undefined);
    if (relay !== undefined) await withDeadline(FAREWELL, () => relay.close()).catch(() => {});
  }

  #subscribe(
    plugin: ChannelPlugin,
    name: string,
    topic: string,
    handler: (value: never) => unknown,
  ): () => void {
    const { log, signal } = plugin;
    const { subscribers, drop } = this.#topic(plugin, name, topic);
    const subscriber = new Subscriber({
      handler,
      onError: (error) => log.error({ channel: name, err: error }, 'channel handler failed'),
      onDropped: drop,
    });
    subscribers.add(subscriber);
    const end = () => {
      subscriber.end();
      signal.removeEventListener('abort', end);
      if (!subscribers.delete(subscriber) || subscribers.size > 0) return;
      this.#topics.delete(topic);
      this.#link.unsubscribe(topic);
    };
    signal.addEventListener('abort', end);
    return end;
  }

  #topic({ name: plugin, log }: ChannelPlugin, channel: string, topic: string): Topic {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const counter = this.#dropped.labels({ plugin, channel });
    counter.inc(0);
    let isTold = false;
    const made: Topic = {
      subscribers: new Set(),
      inForce: this.#link.subscribe(topic),
      drop: (count) => {
        counter.inc(count);
        if (!isTold)
          log.warn({ channel, dropped: count }, 'a subscriber is too slow: the oldest values were dropped');
        isTold = true;
      },
    };
    this.#topics.set(topic, made);
    return made;
  }

  #deliver(messages: readonly Message[], losses: readonly Loss[]): void {
    for (const [topic, count] of losses) this.#topics.get(topic)?.drop(count);
    for (const [topic, json] of messages) {
      for (const subscriber of this.#topics.get(topic)?.subscribers ?? []) subscriber.push(json);
    }
  }
}

function encode(name: string, value: unknown): string {
  const where = () => `channel("${name}").publish`;
  if (value === undefined) throw new TypeError(`${where()}: value is undefined; publish null instead`);
  const json = jsonText(value, where);
  // No character has more than three bytes for each unit.
  if (json.length * 3 > MAX_MESSAGE) {
    const bytes = Buffer.byteLength(json);
    if (bytes > MAX_MESSAGE)
      throw new TypeError(`${where()}: the value has ${bytes} bytes as JSON; ${MAX_MESSAGE} are allowed`);
  }
  return json;
}
