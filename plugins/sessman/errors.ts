/** What a request to the session manager can do wrong, each with its code, HTTP status and sentence for the caller. */
export abstract class SessionError extends Error {
  override readonly name = 'SessionError';
  /** Stable, snake_case. */
  abstract readonly code: string;
  abstract readonly status: number;
  /** More for the answer, beside the sentence and the code. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** One answer for unknown, malformed, expired, ended and another user's ids, so that guessing teaches nothing. */
export class SessionNotFound extends SessionError {
  readonly code = 'session_not_found';
  readonly status = 404;

  constructor() {
    super('There is no such session: it has expired or ended, never was, or is not of this user.');
  }
}

export class VersionMismatch extends SessionError {
  readonly code = 'version_mismatch';
  readonly status = 412;
  override readonly details: { readonly version: number };

  /** @param version the session's version now */
  constructor(version: number) {
    super(
      `The session has changed since: its version is ${version} now. Read it again, redo the change, and send that version.`,
    );
    this.details = { version };
  }
}

export class DataTooLarge extends SessionError {
  readonly code = 'data_too_large';
  readonly status = 413;
  override readonly details: { readonly size: number; readonly max_data: number };

  constructor(size: number, limit: number) {
    super(`The session's data would be ${size} bytes of JSON; max_data allows ${limit}.`);
    this.details = { size, max_data: limit };
  }
}

export class InvalidUserid extends SessionError {
  readonly code = 'invalid_userid';
  readonly status = 400;
}

/** Another writer came first every time; so busy a session needs a pause. */
export class SessionBusy extends SessionError {
  readonly code = 'session_busy';
  readonly status = 503;

  constructor() {
    super('Too many writers are changing this session at once. Nothing was changed; try again shortly.');
  }
}

/** The id that a caller chose for a new session is none. */
export class InvalidSessionId extends SessionError {
  readonly code = 'invalid_session_id';
  readonly status = 400;

  constructor() {
    super(
      'session_id is not 32 bytes in base64url, which are 43 characters. They should be random, or a SHA-256.',
    );
  }
}

/** The id that a caller chose for a new session is taken. */
export class SessionExists extends SessionError {
  readonly code = 'session_exists';
  readonly status = 409;

  constructor() {
    super('There is a session with that id.');
  }
}

/** The store cannot do its work now. The session, if there is one, is as it was, or as a write under way left it. */
export class StoreError extends Error {
  override readonly name: string = 'StoreError';
  /** For clients: stable, snake_case. */
  readonly code: string = 'store_unavailable';
  readonly status = 503;
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number = 1;

  constructor(
    message = 'The session store cannot be reached at the moment. Try again shortly.',
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** What the store holds of this session is no session any more. It can be replaced or ended, not read. */
export class StoreDamagedError extends StoreError {
  override readonly name = 'StoreDamagedError';
  override readonly code = 'store_damaged';
  override readonly retryAfter = 60;

  constructor() {
    super('What the session store holds of this session is damaged. End the session, or restore a backup.');
  }
}

/** No room for what was to be written. Reading still works. */
export class StoreFullError extends StoreError {
  override readonly name = 'StoreFullError';
  override readonly code = 'store_full';
  override readonly retryAfter = 10;

  constructor(cause?: unknown) {
    super(
      'The session store is out of space. Sessions can be read, but not written, until there is room.',
      cause,
    );
  }
}
