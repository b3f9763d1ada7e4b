/** Why a database refuses to work with its settings, as the cause of an error: the operator has to change something. */
export class StoreRefusal extends Error {
  constructor(
    /** For everyone: names no host, user or database. */
    readonly summary: string,
    /** For the operator. */
    message: string,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}
