/** The log file cannot be written. The message says which it is. */
export class LogFileError extends Error {
  override readonly name = 'LogFileError';

  constructor(file: string, cause: NodeJS.ErrnoException) {
    super(`the log file ${file} cannot be written (${cause.code ?? cause.message})`, { cause });
  }
}
