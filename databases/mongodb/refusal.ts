import { MongoServerError, MongoServerSelectionError } from 'mongodb';
import { StoreRefusal } from '../refusal.js';
import type { MongoConnection } from './connection.js';
import { atlasError, hasCode, isOutOfSpace } from './errors.js';

/** MongoDB refuses to work with these settings: the operator has to change something. */
export class MongoRefusal extends StoreRefusal {
  override readonly name = 'MongoRefusal';
  /** Whether waiting cannot help, so that the start fails. */
  readonly isFinal: boolean;

  constructor(
    { summary, remedy, isFinal = false }: Reason,
    { description }: MongoConnection,
    cause: unknown,
  ) {
    super(summary, `${summary}: ${description}. ${remedy}`, cause);
    this.isFinal = isFinal;
  }
}

/** What the operator must know and do, where the error says that MongoDB refuses and not only that it is away. */
export function refusalOf(error: unknown, connection: MongoConnection): MongoRefusal | undefined {
  const reason =
    error instanceof MongoServerSelectionError
      ? whyNoServer(error, connection)
      : whyRefused(error, connection);
  return reason && new MongoRefusal(reason, connection, error);
}

interface Reason {
  /** For everyone: names no host, user or database. */
  readonly summary: string;
  readonly remedy: string;
  readonly isFinal?: boolean;
}

const wrongCredentials: Reason = {
  summary: 'MongoDB does not accept the credentials',
  remedy:
    'Check username and password, and that the user was created in that database (or name another with ?authSource= in server_url).',
  isFinal: true,
};

const missingRights = (owner: string): Reason => ({
  summary: `MongoDB does not let ${owner} read, write and index its collection`,
  remedy: 'Set username and password, and give that user the role readWrite on the database.',
  isFinal: true,
});

/** Why a server that was reached refuses. */
function whyRefused(error: unknown, { owner }: MongoConnection): Reason | undefined {
  if (!(error instanceof MongoServerError)) return undefined;
  if (hasCode(error, authenticationFailed, userNotFound)) return wrongCredentials;
  if (hasCode(error, unauthorized)) return missingRights(owner);
  if (hasCode(error, invalidNamespace)) {
    return {
      summary: 'MongoDB does not accept the name of the database or of the collection',
      remedy: `Set another database, or a shorter collection: MongoDB says: ${error.message}`,
      isFinal: true,
    };
  }
  if (hasCode(error, apiVersionError, apiStrictError, apiDeprecationError)) {
    return {
      summary: 'MongoDB allows this client only a part of its commands, by apiVersion or apiStrict',
      remedy: `Name a server in server_url that requires neither: MongoDB says: ${error.message}`,
      isFinal: true,
    };
  }
  // MongoDB itself answers BadValue for a mechanism that is not enabled.
  if (
    hasCode(error, mechanismUnavailable) ||
    (hasCode(error, badValue) && /mechanism/i.test(error.message))
  ) {
    return {
      summary: 'MongoDB does not offer this way to authenticate',
      remedy: 'Check authMechanism in server_url.',
      isFinal: true,
    };
  }
  if (/retryable writes/i.test(error.message)) {
    return {
      summary: 'MongoDB does not support retryable writes',
      remedy: 'Add retryWrites=false to the options in server_url.',
    };
  }
  if (!hasCode(error, atlasError) || isOutOfSpace(error)) return undefined;
  if (/bad auth|authentication failed/i.test(error.message)) return wrongCredentials;
  if (/not allowed|not authorized/i.test(error.message)) return missingRights(owner);
  return { summary: 'MongoDB Atlas refuses the operation', remedy: `Atlas says: ${error.message}` };
}

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const badValue = 2;
const userNotFound = 11;
const unauthorized = 13;
const authenticationFailed = 18;
const invalidNamespace = 73;
const apiVersionError = 322;
const apiStrictError = 323;
const apiDeprecationError = 324;
const mechanismUnavailable = 334;

/** Why no server can be used, although one is reached. The driver buries the reason in what it knows of each server. */
function whyNoServer(
  { reason }: MongoServerSelectionError,
  { tls, replicaSet }: MongoConnection,
): Reason | undefined {
  const servers = [...(reason?.servers.values() ?? [])];
  if (replicaSet !== undefined && servers.length === 0) {
    return {
      summary: `no MongoDB server belongs to the replica set "${replicaSet}"`,
      remedy: 'Check replicaSet in server_url against the name that rs.status() shows.',
    };
  }
  for (const { error } of servers) {
    const problem = tls ? tlsProblem(error) : plainProblem(error);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function tlsProblem(error: Error | null): Reason | undefined {
  const code = codeOf(error);
  if (code !== undefined) {
    const [, remedy] = tlsRemedies.find(([pattern]) => pattern.test(code)) ?? [];
    return remedy === undefined ? undefined : { summary: `TLS to MongoDB fails (${code})`, remedy };
  }
  if (!/secureConnect/.test(error?.message ?? '')) return undefined;
  return { summary: 'TLS to MongoDB fails (the server does not respond to the handshake)', remedy: noTls };
}

/** A server that requires TLS closes a connection that begins without. */
function plainProblem(error: Error | null): Reason | undefined {
  if (!/^connection .* closed$/.test(error?.message ?? '')) return undefined;
  return {
    summary: 'MongoDB closes connections before it responds',
    remedy: 'The server may require TLS: add tls=true to the options in server_url.',
  };
}

const noTls =
  'The server may not use TLS: remove tls=true from server_url (mongodb+srv:// sets it; tls=false turns it off), or turn TLS on at the server.';

/** What to do, by the code of an error of TLS. */
const tlsRemedies: readonly (readonly [RegExp, string])[] = [
  [/ALTNAME/, "Write the host in server_url as the server's certificate names it."],
  [/CERT_HAS_EXPIRED|NOT_YET_VALID/, "Renew the server's certificate, and check the clocks."],
  [
    /ALERT|HANDSHAKE_FAILURE/,
    'The server may require a client certificate: set tlsCertificateKeyFile in server_url.',
  ],
  [/SIGNED|UNABLE_TO|CERT/, "Name the authority of the server's certificate with tlsCAFile in server_url."],
  // A server without TLS closes the connection, or answers with something else.
  [/SSL|TLS|ECONNRESET|EPIPE/, noTls],
];

/** The code of an error, however deep it is buried. */
function codeOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
  }
  return undefined;
}
