/** Why a process retires in which a refused write has left LMDB unusable, though the disk did not fail. */
export const unusable = 'LMDB cannot be used any more in this process after the disk refused a write';

/**
 * How many processes in a row retired for this reason, a failure of the disk.
 * @param retirements why processes retired, the last one last. A refused write says nothing of a failure.
 */
export function failuresInARow(retirements: readonly string[], reason: string): number {
  return retirements.slice(retirements.lastIndexOf(unusable) + 1).filter((each) => each === reason).length;
}
