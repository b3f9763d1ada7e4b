/**
 * Runs `work` at the first call and returns its result from every call: for results that are expensive and not always needed.
 * Work that fails runs again at the next call.
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
