/** Hands the outcome of work to a Node callback, and outside the promise, so that what the callback throws is its own. */
export function settle<T>(work: Promise<T>, callback?: (error: unknown, value?: T) => void): void {
  work.then(
    (value) => callback && setImmediate(callback, null, value),
    (error: unknown) => callback && setImmediate(callback, error),
  );
}
