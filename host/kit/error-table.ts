import { HttpError, type HttpErrorOptions } from './http-error.js';

/** One error that clients may receive. docs/errors.md is generated from these entries. */
export interface ErrorEntry {
  /** 400 to 599. */
  readonly status: number;
  /** The sentence in the response, or a function that builds it from facts of the case. */
  readonly message: string | ((facts: never) => string);
  /** When clients get the error, as a sentence. */
  readonly when: string;
  /** What the reader can do about it, as a sentence. */
  readonly remedy: string;
}

/** The errors of one area by code: snake_case, stable, for programs. */
export type ErrorTable = Readonly<Record<string, ErrorEntry>>;

/** The facts for the message of an entry, if it needs any, and then the options of HttpError. */
type Rest<Entry extends ErrorEntry> = Entry['message'] extends (facts: infer Facts) => string
  ? [facts: Facts, options?: HttpErrorOptions]
  : [options?: HttpErrorOptions];

/**
 * Returns the function that creates the errors of a table, so that no code outside the table can be thrown:
 *
 * ```ts
 * export const errors = {
 *   no_such_job: {
 *     status: 404,
 *     message: ({ name }: { name: string }) => `Job "${name}" does not exist.`,
 *     when: 'The path names a job that does not exist.',
 *     remedy: 'Check the name in the path.',
 *   },
 * } satisfies ErrorTable;
 * export const jobError = defineErrors(errors);
 *
 * throw jobError('no_such_job', { name });
 * ```
 */
export function defineErrors<Table extends ErrorTable>(table: Table) {
  return <Code extends keyof Table & string>(code: Code, ...rest: Rest<Table[Code]>): HttpError => {
    const { status, message } = table[code] as ErrorEntry;
    const [first, second] = rest as [unknown, HttpErrorOptions?];
    return typeof message === 'string'
      ? new HttpError(status, code, message, first as HttpErrorOptions | undefined)
      : new HttpError(status, code, message(first as never), second);
  };
}
