import { defineErrors, type ErrorTable } from '../kit/error-table.js';

/** The errors of `storage` and `every`. They are part of the host's table. */
export const storageErrors = {
  storage_unavailable: {
    status: 503,
    message: "The plugins' storage cannot be used. Try again shortly.",
    when: 'The storage of plugins cannot be reached, is full, or does not respond in time. A write may have been applied.',
    remedy: "Try again after the delay in Retry-After; the operator finds the cause in the server's log.",
  },
  storage_damaged: {
    status: 503,
    message: "A value in the plugins' storage is damaged.",
    when: 'The bytes of a value that a plugin keeps are not what was written.',
    remedy:
      'The operator finds the key in the log, checks the disk and restores a backup; or the plugin replaces or deletes the value.',
  },
  value_too_large: {
    status: 413,
    message: ({ bytes }: { bytes: number }) =>
      `The value has ${bytes} bytes as JSON; ${MAX_VALUE} are allowed.`,
    when: 'A plugin stores a value of more than 1 MiB.',
    remedy: 'Send less data, or see the documentation of the plugin.',
  },
  lease_lost: {
    status: 500,
    message: 'Another worker has taken over this run of the job.',
    when: 'A job continues after it has lost its lease, and uses its storage. Clients receive this only if a request waits for the job.',
    remedy: 'Try again: another worker runs the job.',
  },
} satisfies ErrorTable;

export const storageError = defineErrors(storageErrors);

/** Bytes of one value as JSON. */
export const MAX_VALUE = 1_048_576;

export function unavailable(cause?: unknown) {
  return storageError('storage_unavailable', { headers: { 'Retry-After': '1' }, cause });
}

/** @param place for the log */
export function damaged(place: string) {
  const cause = new Error(`the value under ${place} is not what was written`);
  return storageError('storage_damaged', { headers: { 'Retry-After': '60' }, cause });
}
