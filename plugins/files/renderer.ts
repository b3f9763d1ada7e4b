import { on, once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DeadlineError, withDeadline } from 'plugin-server';
import type { RenderOrder, RenderReply } from './render-thread.js';

/** A rendered Markdown text. */
export interface Rendered {
  readonly html: string;
  /** The text of its first top-level heading. */
  readonly heading: string | undefined;
  /** Why its code is not highlighted, when highlighting failed. */
  readonly problem?: Error;
}

/**
 * Renders Markdown in a thread with a deadline. A text can be made so that it takes minutes to parse or highlight; in
 * the thread it delays no other request, and the thread ends when it exceeds its time or its memory.
 */
export class Renderer {
  #thread: { readonly worker: Worker; readonly ready: Promise<unknown> } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;

  /** Renders one text at a time. Rejects when the text exceeds the limits. */
  render(order: RenderOrder): Promise<Rendered> {
    const turn = this.#last.then(() => this.#render(order));
    this.#last = turn.catch(() => {});
    return turn;
  }

  close(): void {
    clearTimeout(this.#idle);
    void this.#thread?.worker.terminate();
    this.#thread = undefined;
  }

  async #render(order: RenderOrder): Promise<Rendered> {
    clearTimeout(this.#idle);
    this.#thread ??= startThread();
    const { worker, ready } = this.#thread;
    const listening = new AbortController();
    let plain: RenderReply | undefined;
    try {
      await ready;
      const replies = on(worker, 'message', { signal: listening.signal });
      const next = async () => (await replies.next()).value[0] as RenderReply;
      worker.postMessage(order);
      plain = await withDeadline(limits.parse, next, () => new DeadlineError('rendering takes too long'));
      if (plain.isLast) return plain;
      return await withDeadline(
        limits.highlight,
        next,
        () => new DeadlineError('highlighting takes too long'),
      );
    } catch (error) {
      this.close();
      if (plain) return { ...plain, problem: error as Error };
      throw error;
    } finally {
      listening.abort();
      this.#idle = setTimeout(() => this.close(), idleTime).unref();
    }
  }
}

/** Milliseconds for a text, and then for its code: several times the time of the longest ordinary text. */
const limits = { parse: 5000, highlight: 2000 };

/** Milliseconds for which an idle thread is kept: its modules take some 20 MB. */
const idleTime = 60_000;

function startThread() {
  const worker = new Worker(new URL('render-thread.js', import.meta.url), {
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 256 },
  });
  // It does not keep the process alive, and its errors show where its reply is awaited.
  worker.unref();
  worker.on('error', () => {});
  const ready = once(worker, 'message');
  ready.catch(() => {});
  return { worker, ready };
}
