import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { Problem } from '../../config/index.js';
import { type Deadlines, messageOf, withDeadline } from '../kit/deadline.js';
import type { PluginState } from '../kit/server-view.js';
import type { PreparedPlugin } from '../prepare/plugin-parameters.js';

type Hook = () => void | Promise<void>;

/** Throws or rejects while the plugin cannot do its work; returns what there is to say besides. */
export type ReadinessCheck = () => void | string | Promise<void> | Promise<string>;

/** The steps from setup on. */
type HookStep = Exclude<keyof Deadlines, 'load' | 'check' | 'pong'>;

/** A step of a plugin that failed. `cause` is what the plugin threw; there is none when it was too slow. */
export class StepError extends Error {
  override readonly name = 'StepError';
}

/** One plugin on its way through the states. */
export class PluginUnit {
  state: PluginState = 'loaded';
  /** Why it is failed, for people. */
  problem: string | undefined;
  /** The same, with its place. */
  fault: Problem | undefined;
  exports: unknown;
  readonly abort = new AbortController();
  readonly checks = new Map<string, ReadinessCheck>();
  readonly readyHooks: Hook[] = [];
  readonly closeHooks: Hook[] = [];
  readonly log: Logger;
  readonly #deadlines: Deadlines;
  #closed: Promise<void> | undefined;
  /** Ends the step that the start is at. */
  #interrupt: (error: unknown) => void = () => {};

  constructor(
    readonly plugin: PreparedPlugin,
    log: Logger,
    deadlines: Deadlines,
  ) {
    this.log = log.child({ plugin: plugin.name });
    this.#deadlines = deadlines;
  }

  get name(): string {
    return this.plugin.name;
  }

  /** `/sessman` */
  get path(): string {
    return this.plugin.path;
  }

  get version(): string {
    return this.plugin.version;
  }

  /** For a plugin that cannot even be set up. */
  fail(problem: string): void {
    this.state = 'failed';
    this.problem = problem;
  }

  /** For an error that the plugin's code threw into the event loop: it fails its start, or fails later, once closed. */
  async break(error: unknown): Promise<void> {
    if (this.state === 'setting_up') this.#interrupt(error);
    if (this.state !== 'ready') return;
    this.problem = messageOf(error);
    await this.close();
    this.state = 'failed';
  }

  /** Runs setup and the ready hooks; rejects with a StepError, the plugin then closed as far as it had come. */
  async start(setup: () => unknown): Promise<void> {
    this.state = 'setting_up';
    const began = performance.now();
    try {
      this.exports = await this.#within('setup', setup);
      for (const hook of this.readyHooks) await this.#within('ready', hook);
      this.state = 'ready';
      this.log.debug({ ms: Math.round(performance.now() - began) }, 'plugin ready');
    } catch (error) {
      this.problem = messageOf(error);
      await this.close();
      this.state = 'failed';
      throw error;
    }
  }

  /** Aborts `signal`, then runs each close hook, last first, whatever the others do. Never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.state === 'failed') return;
    if (this.state === 'loaded') {
      this.state = 'closed';
      return;
    }
    this.state = 'closing';
    this.abort.abort();
    for (const hook of this.closeHooks.toReversed()) {
      try {
        await this.#within('close', hook);
      } catch (error) {
        this.log.error({ err: (error as Error).cause ?? error }, messageOf(error));
      }
    }
    this.state = 'closed';
  }

  async #within(step: HookStep, run: () => unknown): Promise<unknown> {
    const limit = this.#deadlines[step];
    const fail = (what: string, options?: ErrorOptions) =>
      new StepError(`plugin "${this.name}" ${what}`, options);
    const interrupted = new Promise<never>((_resolve, reject) => {
      this.#interrupt = reject;
    });
    try {
      return await withDeadline(
        limit,
        () => Promise.race([interrupted, run()]),
        () => fail(`did not finish its ${STEP_NAMES[step]} within ${limit / 1000} s`),
      );
    } catch (error) {
      if (error instanceof StepError) throw error;
      throw fail(`failed in its ${STEP_NAMES[step]}: ${messageOf(error)}`, { cause: error });
    }
  }
}

const STEP_NAMES: Record<HookStep, string> = {
  setup: 'setup',
  ready: 'onReady hook',
  close: 'onClose hook',
};
