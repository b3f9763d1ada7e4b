import { timingSafeEqual } from 'node:crypto';

/** The one key that every server of the benchmark wants, as `Authorization: Bearer KEY`. */
export const key = 'bench-key-4b1d5c0e9f2a7836';

const wanted = Buffer.from(`Bearer ${key}`);

export function allowed(authorization) {
  if (authorization === undefined || authorization.length !== wanted.length) return false;
  const given = Buffer.from(authorization);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
