import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { Problem } from '../config/index.js';
import { withDeadline } from './deadline.js';
import type { PluginPackage } from './discovery.js';
import type { PluginDefinition } from './plugin.js';

/**
 * loaded -> setting_up -> ready -> closing -> closed, and failed from any of the first two.
 */
export type PluginState = 'loaded' | 'setting_up' | 'ready' | 'closing' | 'closed' | 'failed';

type Hook = () => void | Promise<void>;

/** Milliseconds that one step of a plugin may take. */
export interface Deadlines {
  readonly load: number;
  readonly check: number;
  readonly setup: number;
  readonly ready: number;
  readonly close: number;
}

export const DEADLINES: Deadlines = {
  load: 10_000,
  check: 10_000,
  setup: 10_000,
  ready: 10_000,
  close: 5_000,
};

/** The steps from setup on. */
type HookStep = Exclude<keyof Deadlines, 'load' | 'check'>;

/** A step of a plugin that failed. `cause` is what the plugin threw; there is none when it was too slow. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly plugin: string;
  readonly step: keyof Deadlines;

  constructor(plugin: string, step: keyof Deadlines, what: string, cause?: unknown) {
    super(`plugin "${plugin}" ${what}`, cause === undefined ? undefined : { cause });
    this.plugin = plugin;
    this.step = step;
  }
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
  readonly checks = new Map<string, Hook>();
  readonly readyHooks: Hook[] = [];
  readonly closeHooks: Hook[] = [];
  #closed: Promise<void> | undefined;

  constructor(
    readonly name: string,
    /** `/sessman` */
    readonly path: string,
    readonly version: string,
    readonly package_: PluginPackage,
    readonly definition: PluginDefinition,
    readonly parameters: unknown,
    readonly sections: Readonly<Record<string, unknown>>,
    /** Whether the server stops its start when this plugin fails. */
    readonly required: boolean,
    readonly log: Logger,
    readonly deadlines: Deadlines,
  ) {}

  /** For a plugin that cannot even be set up. */
  fail(problem: string): void {
    this.state = 'failed';
    this.problem = problem;
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
    const limit = this.deadlines[step];
    try {
      return await withDeadline(
        limit,
        run,
        () =>
          new StepError(this.name, step, `did not finish its ${STEP_NAMES[step]} within ${limit / 1000} s`),
      );
    } catch (error) {
      if (error instanceof StepError) throw error;
      throw new StepError(this.name, step, `failed in its ${STEP_NAMES[step]}: ${messageOf(error)}`, error);
    }
  }
}

const STEP_NAMES: Record<HookStep, string> = {
  setup: 'setup',
  ready: 'onReady hook',
  close: 'onClose hook',
};

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A plugin whose `after` cannot be kept. */
export interface OrderFault {
  readonly plugin: string;
  readonly message: string;
  /** The name that no plugin has, when that is the fault. */
  readonly missing?: string;
}

/** An entry of `after`: `name`, or `name?` of a plugin that may be missing. */
export function parseAfter(entry: string): { readonly name: string; readonly optional: boolean } {
  const optional = entry.endsWith('?');
  return { name: optional ? entry.slice(0, -1) : entry, optional };
}

/** Sorts so that each plugin comes behind those in its `after`; names compare without case. Otherwise the order stays. */
export function orderPlugins<Item extends { readonly name: string; readonly after: readonly string[] }>(
  items: readonly Item[],
): { readonly ordered: readonly Item[]; readonly faults: readonly OrderFault[] } {
  const byName = new Map(items.map((item) => [item.name.toLowerCase(), item]));
  const ordered: Item[] = [];
  const faults: OrderFault[] = [];
  const done = new Set<Item>();
  const visit = (item: Item, trail: readonly Item[]): void => {
    if (done.has(item)) return;
    if (trail.includes(item)) {
      const circle = [...trail.slice(trail.indexOf(item)), item].map(({ name }) => name).join(' -> ');
      faults.push({ plugin: item.name, message: `plugins wait for each other in a circle: ${circle}` });
      return;
    }
    for (const { name, optional } of item.after.map(parseAfter)) {
      const before = byName.get(name.toLowerCase());
      if (before === undefined) {
        if (optional) continue;
        faults.push({
          plugin: item.name,
          message: `plugin "${item.name}" comes after "${name}", which is not there`,
          missing: name,
        });
      } else visit(before, [...trail, item]);
    }
    if (!done.has(item)) {
      done.add(item);
      ordered.push(item);
    }
  };
  for (const item of items) visit(item, []);
  return { ordered, faults };
}
