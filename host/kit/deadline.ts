/** The work did not finish in time. It continues, and may still finish. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/** Resolves to the work's result, or rejects with `late()` when the work takes longer than `limit` milliseconds. */
export async function withDeadline<Result>(
  limit: number,
  work: () => Result | Promise<Result>,
  late: () => Error = () => new DeadlineError(`no result within ${limit / 1000} s`),
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

/** Milliseconds that one step of a plugin, or of its clients, may take. */
export interface Deadlines {
  readonly load: number;
  readonly check: number;
  readonly setup: number;
  readonly ready: number;
  readonly close: number;
  /** A client's answer to a ping of its WebSocket. */
  readonly pong: number;
}

export const DEADLINES: Deadlines = {
  load: 10_000,
  check: 10_000,
  setup: 10_000,
  ready: 10_000,
  close: 5_000,
  pong: 30_000,
};

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
