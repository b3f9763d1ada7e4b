/** Passes the outcome of work to a Node callback, outside the promise, so that no promise swallows what the callback throws. */
export function settle<T>(work: () => Promise<T>, callback?: (error: unknown, value?: T) => void): void {
  work().then(
    (value) => callback && setImmediate(callback, null, value),
    (error: unknown) => callback && setImmediate(callback, error),
  );
}
