import type { Problem } from '../../config/problem.js';

/** Why a worker, and with it its generation, did not start. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  constructor(
    /** One sentence for people. */
    reason: string,
    /** The problems of the configuration, where that was the cause. */
    readonly problems: readonly Problem[] = [],
  ) {
    super(reason);
  }
}
