import type { SendHandle } from 'node:child_process';
import type { ChannelLink } from '../channels/link.js';
import type { Asker, Control, RateLink, ReloadOutcome } from '../control.js';
import type { FromWorker, MetricReport, ToWorker } from '../ipc/messages.js';
import type { ListenerLink } from '../kit/plugin-listener.js';
import type { MonitorEvent } from '../kit/server-view.js';
import type { MonitorLink } from '../monitor/monitor.js';

type Asked =
  | { readonly type: 'reload'; readonly asker: Asker }
  | { readonly type: 'all_metrics' | 'ask_heard' };
type Answer = Extract<
  ToWorker,
  { type: 'reloaded' | 'all_metrics' | 'heard' | 'subscribed' | 'bound' | 'shares' }
>;
type Told = Extract<ToWorker, { type: 'monitor' | 'messages' }>;

/** The worker's end of the IPC channel, over which a Host sends requests to its supervisor. */
export class SupervisorChannel implements Control {
  readonly #asked = new Map<number, (answer: Answer) => void>();
  readonly #watchers = new Map<number, (event: MonitorEvent) => void>();
  #count = 0;

  readonly monitor: MonitorLink = {
    report: (report) => {
      this.send({ type: 'report', report });
    },
    watch: (listener) => {
      const id = this.#nextId();
      this.#watchers.set(id, listener);
      this.send({ type: 'watch', id });
      return () => {
        this.#watchers.delete(id);
        this.send({ type: 'unwatch', id });
      };
    },
  };

  retirements: readonly string[] = [];

  readonly listeners: ListenerLink = {
    bind: async (listener) => {
      const id = this.#nextId();
      const answer = this.#answer(id);
      this.send({ type: 'bind', id, listener });
      return ((await answer) as Extract<Answer, { type: 'bound' }>).bound;
    },
  };

  readonly rates: RateLink = {
    take: async (requests) => {
      const id = this.#nextId();
      const answer = this.#answer(id);
      this.send({ type: 'take_shares', id, requests });
      return ((await answer) as Extract<Answer, { type: 'shares' }>).shares;
    },
    giveBack: (unused) => {
      this.send({ type: 'give_back', unused });
    },
  };

  readonly channels: ChannelLink = {
    publish: (messages, _losses, done) => {
      this.send({ type: 'publish', messages }).then(done);
    },
    subscribe: async (topic) => {
      const id = this.#nextId();
      const inForce = this.#answer(id);
      this.send({ type: 'subscribe', id, topic });
      await inForce;
    },
    unsubscribe: (topic) => {
      this.send({ type: 'unsubscribe', topic });
    },
    onMessages: () => {},
  };

  /** Resolves when the message has been written. */
  send(message: FromWorker, handle?: object): Promise<void> {
    return new Promise((resolve) => {
      // Without a supervisor, this process is about to exit.
      if (process.connected) process.send?.(message, handle as SendHandle, undefined, () => resolve());
    });
  }

  /** Handles a message that responds to one sent here. */
  receive(message: Answer | Told): void {
    if (message.type === 'monitor') this.#watchers.get(message.id)?.(message.event);
    else if (message.type === 'messages') this.channels.onMessages(message.messages, message.losses);
    else {
      this.#asked.get(message.id)?.(message);
      this.#asked.delete(message.id);
    }
  }

  async reload(asker: Asker): Promise<ReloadOutcome> {
    const answer = await this.#ask({ type: 'reload', asker });
    if (answer.type !== 'reloaded')
      throw new Error(`Expected "reloaded" from the supervisor, received "${answer.type}".`);
    return answer.outcome;
  }

  async heard() {
    const answer = await this.#ask({ type: 'ask_heard' });
    if (answer.type !== 'heard')
      throw new Error(`Expected "heard" from the supervisor, received "${answer.type}".`);
    return answer;
  }

  tellCapacity(isFull: boolean): void {
    this.send({ type: isFull ? 'full' : 'space' });
  }

  retire(reason: string): void {
    this.send({ type: 'retire', reason });
  }

  async metrics(): Promise<readonly MetricReport[]> {
    const answer = await this.#ask({ type: 'all_metrics' });
    if (answer.type !== 'all_metrics')
      throw new Error(`Expected "all_metrics" from the supervisor, received "${answer.type}".`);
    return answer.metrics;
  }

  #ask(asked: Asked): Promise<Answer> {
    const id = this.#nextId();
    const answer = this.#answer(id);
    this.send({ ...asked, id });
    return answer;
  }

  #answer(id: number): Promise<Answer> {
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
    });
  }

  #nextId(): number {
    this.#count += 1;
    return this.#count;
  }
}
