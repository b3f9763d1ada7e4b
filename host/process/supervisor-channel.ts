import type { Control, ReloadOutcome } from '../control.js';
import type { FromWorker, ToWorker } from './messages.js';

type Asked = 'reload' | 'all_metrics';
type Answer = Extract<ToWorker, { id: number }>;

/** The worker's end of the channel, and through it what a Host can ask of its supervisor. */
export class SupervisorChannel implements Control {
  readonly #asked = new Map<number, (answer: Answer) => void>();
  #count = 0;

  /** Resolves when it has been written. */
  send(message: FromWorker): Promise<void> {
    return new Promise((resolve) => {
      // A supervisor that is gone needs no answer: this process is about to end.
      if (process.connected) process.send?.(message, undefined, undefined, () => resolve());
    });
  }

  /** Takes a message that answers a question asked here. */
  receive(answer: Answer): void {
    this.#asked.get(answer.id)?.(answer);
    this.#asked.delete(answer.id);
  }

  async reload(): Promise<ReloadOutcome> {
    const answer = await this.#ask('reload');
    if (answer.type !== 'reloaded') throw new Error(`The supervisor answered a reload with ${answer.type}.`);
    return answer.outcome;
  }

  async metrics(): Promise<string> {
    const answer = await this.#ask('all_metrics');
    if (answer.type !== 'all_metrics')
      throw new Error(`The supervisor answered for metrics with ${answer.type}.`);
    const { AggregatorRegistry } = await import('prom-client');
    return AggregatorRegistry.aggregate(answer.reports as object[]).metrics();
  }

  #ask(type: Asked): Promise<Answer> {
    this.#count += 1;
    const id = this.#count;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.send({ type, id });
    });
  }
}
