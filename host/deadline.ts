/** The work's result, or a rejection with `late()` when it takes longer than `limit` milliseconds. The work itself goes on. */
export async function withDeadline<Result>(
  limit: number,
  work: () => Result | Promise<Result>,
  late: () => Error,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), limit);
  });
  try {
    return await Promise.race([Promise.resolve().then(work), overdue]);
  } finally {
    clearTimeout(timer);
  }
}
