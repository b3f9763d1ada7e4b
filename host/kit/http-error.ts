export interface HttpErrorOptions {
  /** Sent with the response, such as `Retry-After`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the response's JSON, beside `error`, `code` and `request_id`. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Logged, never sent. */
  readonly cause?: unknown;
}

/** An error whose message is meant for the client: the response is `{"error": message, "code": code, "request_id": …}`. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly expose = true;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    /** 400 to 599. */
    readonly status: number,
    /** snake_case, stable, for programs. */
    readonly code: string,
    message: string,
    options: HttpErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.headers = options.headers;
    this.details = options.details;
  }
}
