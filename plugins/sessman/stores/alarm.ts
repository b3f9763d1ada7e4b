/** Lets one task wait until another has something for it. What rings while nobody waits is not lost. */
export class Alarm {
  #isRung = false;
  #ring = () => {};

  ring(): void {
    this.#isRung = true;
    this.#ring();
  }

  /**
   * Resolves when it rings, at the latest after so many milliseconds, to whether it rang. Does not keep the process
   * running.
   */
  async wait(milliseconds: number): Promise<boolean> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds).unref();
        this.#ring = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const hasRung = this.#isRung;
    this.#isRung = false;
    this.#ring = () => {};
    return hasRung;
  }
}

/** A controller that aborts with the signal. Unlike `AbortSignal.any`, it leaves nothing at a signal that lives long. */
export function linkedTo(signal: AbortSignal): AbortController {
  const linked = new AbortController();
  if (signal.aborted) linked.abort();
  else signal.addEventListener('abort', () => linked.abort(), { signal: linked.signal });
  return linked;
}
