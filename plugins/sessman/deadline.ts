/** What was waited for did not come in time. It may still be done. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/** The outcome of a promise, or a DeadlineError when it has none after so many milliseconds. */
export async function withinDeadline<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(`nothing within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
