import type { Problem } from '../../config/problem.js';

/** Why a worker, and with it its generation, did not come up. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  constructor(
    /** One sentence for people. */
    reason: string,
    /** What is wrong with the configuration, where that was the cause. */
    readonly problems: readonly Problem[] = [],
  ) {
    super(reason);
  }
}
