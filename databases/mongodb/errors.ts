import { MongoServerError } from 'mongodb';

/** Whether MongoDB answered with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly number[]): boolean {
  return error instanceof MongoServerError && codes.includes(Number(error.code));
}

/** Whether MongoDB refused a write for want of space: on its disk, or in the quota of an Atlas cluster. */
export function isOutOfSpace(error: unknown): boolean {
  return (
    hasCode(error, outOfDiskSpace) ||
    (hasCode(error, atlasError) && /space quota/i.test((error as Error).message))
  );
}

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const outOfDiskSpace = 14031;
/** MongoDB Atlas answers with this code for many reasons; only the message tells them apart. */
export const atlasError = 8000;
