/**
 * Runs `work` at the first call and gives every call its result: for what is expensive to make and not always needed. Work
 * that fails runs again at the next call.
 */
export function once<Result>(work: () => Promise<Result>): () => Promise<Result> {
  let result: Promise<Result> | undefined;
  return () => {
    result ??= work().catch((error: unknown) => {
      result = undefined;
      throw error;
    });
    return result;
  };
}
