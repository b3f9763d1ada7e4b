import { defineErrors, type ErrorTable } from './error-table.js';

/** The errors that clients of served files receive. */
export const fileErrors = {
  not_found: {
    status: 404,
    message: 'File not found.',
    when: 'The file does not exist, or it is not served: its name starts with a dot, it lies outside the folder, or it is not a regular file.',
    remedy: 'Check the path. A folder is served as its index file and is never listed.',
  },
  precondition_failed: {
    status: 412,
    message: 'The file is not at the version that the request requires. Fetch it again.',
    when: 'If-Match does not match the version of the file, or the file has changed since the time in If-Unmodified-Since.',
    remedy: 'Fetch the file again, without the condition.',
  },
  too_many_open_files: {
    status: 503,
    message: 'The server has too many files open. Try again in a few seconds.',
    when: 'The process or the machine has run out of file descriptors.',
    remedy: 'Try again. As the operator, raise the limit on open files (LimitNOFILE, ulimit -n).',
  },
  range_not_satisfiable: {
    status: 416,
    message: ({ size }: { size: number }) => `The range lies outside the file, which has ${size} bytes.`,
    when: 'The range in the Range header starts after the end of the file.',
    remedy: 'Request a range within the length that Content-Range gives, or the whole file.',
  },
} satisfies ErrorTable;

export const fileError = defineErrors(fileErrors);
