import { defineErrors, type ErrorTable } from 'plugin-server';

/** The errors that clients of served folders receive. */
export const errors = {
  not_found: {
    status: 404,
    message: 'File not found.',
    when: 'The folder has no such file, or the file is not served: its name starts with a dot, it lies outside the folder, or it is not a regular file.',
    remedy: 'Check the path. Folders are answered by their index file and are not listed.',
  },
  precondition_failed: {
    status: 412,
    message: 'The file is not in the version that the request names. Fetch it again.',
    when: 'If-Match does not name the version of the file, or the file has changed since the time in If-Unmodified-Since.',
    remedy: 'Fetch the file again, without the condition.',
  },
  too_many_open_files: {
    status: 503,
    message: 'The server has too many files open. Try again in a few seconds.',
    when: 'The process or the machine has no descriptor left to open the file with.',
    remedy: 'Try again. As the operator, raise the limit of open files (LimitNOFILE, ulimit -n).',
  },
  range_not_satisfiable: {
    status: 416,
    message: ({ size }: { size: number }) => `The range lies outside the file, which has ${size} bytes.`,
    when: 'The range in the Range header starts behind the end of the file.',
    remedy: 'Request a range within the length that Content-Range gives, or the whole file.',
  },
} satisfies ErrorTable;

export const fileError = defineErrors(errors);
