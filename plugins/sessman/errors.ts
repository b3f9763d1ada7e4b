import { defineErrors, type ErrorTable, HttpError } from 'plugin-server';

/** Every error response of sessman. Nothing in this plugin throws a code that is not here. */
export const errors = {
  session_not_found: {
    status: 404,
    message: 'Session not found: it has expired, was ended, never existed, or belongs to another user.',
    when: 'The id or handle is unknown, malformed or expired, its session was ended, or it belongs to another user. All cases get the same response, so that guessing reveals nothing.',
    remedy: 'Create a new session; ask the user to log in again.',
  },
  version_mismatch: {
    status: 412,
    message: ({ version }: { version: number }) =>
      `The session is at version ${version} now. Read it again, reapply your change, and send version ${version}.`,
    when: 'The session is not at the version that `version` or If-Match asks for. `version` in the response is the current one.',
    remedy: 'Read the session again, reapply the change, and send the current version.',
  },
  data_too_large: {
    status: 413,
    message: ({ size, limit }: { size: number; limit: number }) =>
      `The session's data would take ${size} bytes of JSON; max_data allows ${limit}.`,
    when: "The session's data as JSON text would exceed `max_data`. `size` and `max_data` are in the response.",
    remedy: 'Store less in the session, or raise `max_data`.',
  },
  invalid_userid: {
    status: 400,
    message: ({ problem }: { problem: string }) => `userid ${problem}.`,
    when: 'The userid is empty, longer than 1024 bytes of UTF-8, or not well-formed Unicode.',
    remedy: "Send the user's name or number as text of 1 to 1024 bytes of UTF-8.",
  },
  invalid_session_id: {
    status: 400,
    message:
      'session_id is not 32 bytes in base64url (43 characters). Use random bytes or a SHA-256, or leave session_id out.',
    when: '`new` received a session_id of the wrong form.',
    remedy: 'Send 32 random bytes, or a SHA-256, in base64url; or leave session_id out.',
  },
  session_exists: {
    status: 409,
    message: 'A session with this session_id already exists.',
    when: '`new` received the session_id of an existing session.',
    remedy: 'Use a new id, or `update` the existing session.',
  },
  session_busy: {
    status: 503,
    message: 'Too many clients are changing this session at once. Nothing was changed; try again shortly.',
    when: 'Other writers changed the session during every attempt of `patch`.',
    remedy: 'Send the request again after the delay in Retry-After.',
  },
  store_unavailable: {
    status: 503,
    message: 'The session store cannot be reached. Try again shortly.',
    when: 'The store did not complete the operation in time. A write may have been applied.',
    remedy: 'Send the request again after the delay in Retry-After; send a write with its version.',
  },
  store_damaged: {
    status: 503,
    message: 'The stored session is damaged. End it, or restore a backup.',
    when: 'What the store holds of this session is not what was written, or no key decrypts it.',
    remedy: 'End the session, or restore a backup. `update` replaces data that no key decrypts.',
  },
  store_full: {
    status: 503,
    message:
      'The session store has too little disk space left. Sessions can be read, but not made or changed.',
    when: 'The disk of the session store has too little space left.',
    remedy: 'Free disk space, or end sessions. Writing resumes by itself.',
  },
  store_failed: {
    status: 503,
    message:
      'The disk failed while the session store was writing. Sessions can be read; they can be written once the server has opened the store again.',
    when: 'A disk error left the session store unable to write in this process, which the server replaces. After a second failure, the store stays read-only. The write may have been applied.',
    remedy:
      'Send the request again after the delay in Retry-After. If the error persists, check the disk, then reload or restart the server.',
  },
  missing_parameter: {
    status: 400,
    message: ({ name, usage }: { name: string; usage: string }) =>
      `The parameter "${name}" is missing. ${usage}`,
    when: 'A required parameter is missing.',
    remedy: 'Send the parameter that the response names.',
  },
  unknown_parameter: {
    status: 400,
    message: ({ name, usage, belongsInBody }: { name: string; usage: string; belongsInBody: boolean }) =>
      belongsInBody
        ? `"${name}" belongs in the body, not in the query string. ${usage}`.trimEnd()
        : `Unknown parameter ${JSON.stringify(name)}. ${usage}`,
    when: 'The call does not accept a parameter of this name.',
    remedy: 'Check the spelling. Session data belongs in the body, as `{"data": {…}}`.',
  },
  duplicate_parameter: {
    status: 400,
    message: ({ name }: { name: string }) => `The parameter "${name}" is given twice.`,
    when: 'A parameter is given twice in one place, under the same name or two names.',
    remedy: 'Send the parameter once.',
  },
  conflicting_parameter: {
    status: 400,
    message: ({ name }: { name: string }) =>
      `The parameter "${name}" is given in two places, with different values.`,
    when: 'A parameter has different values in the query string, the body and the headers.',
    remedy: 'Send the parameter once.',
  },
  invalid_parameter: {
    status: 400,
    message: ({ name, problem }: { name: string; problem: string }) => `"${name}" ${problem}.`,
    when: 'A parameter has the wrong type or form.',
    remedy: 'Send the parameter in the form that the response shows.',
  },
  invalid_data: {
    status: 400,
    message: ({ usage }: { usage: string }) => `"data" is not a JSON object. ${usage}`,
    when: 'The member `data` of the body is not a JSON object.',
    remedy: 'Wrap the value in an object: `{"data": {"items": […]}}`.',
  },
  invalid_body: {
    status: 400,
    message: ({ problem, usage }: { problem: string; usage: string }) => `${problem} ${usage}`,
    when: 'The body is not a JSON object, or its Content-Type says that it is not JSON.',
    remedy: 'Send a JSON object with the header Content-Type: application/json.',
  },
  session_required: {
    status: 401,
    message: 'This call requires a session: its cookie, or an API key.',
    when: 'In cookie mode, the request has neither the cookie of a session nor an API key, or it has the cookies of two live sessions.',
    remedy: 'Let the user log in. With two cookies, delete both: they differ in their domain or path.',
  },
  reauthentication_required: {
    status: 401,
    message: ({ max_auth_age }: { max_auth_age: number }) =>
      `The user authenticated more than ${max_auth_age} s ago, and must do so again.`,
    when: 'The user authenticated longer ago than `max_auth_age` of `/sessman/check` allows.',
    remedy: 'Ask the user for the password again, then call `renew` with `authenticated=true`.',
  },
  key_required: {
    status: 403,
    message: ({ what, isOpen }: { what: string; isOpen?: boolean }) =>
      isOpen
        ? `${what} requires an API key, but everybody may call this server without one. Write apikey=KEY in [auth] in the INI file, and no auth_type=none.`
        : `${what} requires an API key; the session cookie is not enough. Send the key as Authorization: Bearer KEY.`,
    when: 'In cookie mode, a request with only the cookie writes data that `cookie_data` does not let it write, or sends a parameter that only a server may send. Outside cookie mode, `get` received a handle while the server requires no key.',
    remedy:
      'Make the call from a server with the API key, or from a plugin. To let pages write data, set `cookie_data` to `write`.',
  },
  operators_only: {
    status: 403,
    message: 'Ending the sessions of all users is for operators. Send the request to the address in [admin].',
    when: '`end_all` with `everyone` came to another address than the one in `[admin]`.',
    remedy: 'Send the request to that address.',
  },
  foreign_origin: {
    status: 403,
    message:
      'In cookie mode, pages from other origins cannot use this. To allow this origin, add it to cookie_origins.',
    when: 'In cookie mode, a page from another origin sent a request by POST, or to `watch`, or one that logs a visitor in or out.',
    remedy: 'Add the origin of the page to `cookie_origins`.',
  },
} satisfies ErrorTable;

export type SessmanErrorCode = keyof typeof errors;

export const sessmanError = defineErrors(errors);

type StoreErrorCode = Extract<SessmanErrorCode, `store_${string}`>;

/**
 * The store cannot do its work now: what stores throw. The session, if there is one, is as it was, or as a concurrent write
 * left it.
 */
export class StoreError extends HttpError {
  constructor(cause?: unknown, code: StoreErrorCode = 'store_unavailable', retryAfter = 1) {
    const { status, message } = errors[code];
    super(status, code, message, { cause, headers: { 'Retry-After': String(retryAfter) } });
  }
}

/** What the store holds of this session is damaged, or cannot be decrypted. The session can be ended. */
export class StoreDamagedError extends StoreError {
  /** @param part what of the store's file is not as it was written, for the log; none where only no key decrypts it */
  constructor(readonly part?: string) {
    super(undefined, 'store_damaged', 60);
  }
}

/** The disk is full. Reading still works. */
export class StoreFullError extends StoreError {
  constructor(cause?: unknown) {
    super(cause, 'store_full', 10);
  }
}

/** The disk failed while the store was writing. Only a process that opens the store again can go on. */
export class StoreFailedError extends StoreError {
  constructor(cause?: unknown) {
    super(cause, 'store_failed');
  }
}
