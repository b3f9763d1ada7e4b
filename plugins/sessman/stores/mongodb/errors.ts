import { MongoServerError } from 'mongodb';

/** Whether MongoDB answered with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly number[]): boolean {
  return error instanceof MongoServerError && codes.includes(Number(error.code));
}
