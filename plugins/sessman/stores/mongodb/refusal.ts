import { MongoServerSelectionError } from 'mongodb';
import { StoreRefusal } from '../store-kind.js';
import type { MongoConnection } from './connection.js';
import { hasCode } from './errors.js';

/** MongoDB was reached and refuses to work with these settings: the operator has to change something. */
export class MongoRefusal extends StoreRefusal {
  override readonly name = 'MongoRefusal';

  constructor(
    summary: string,
    { description }: MongoConnection,
    remedy: string,
    /** Whether waiting cannot help, so that the start fails. */
    readonly isFinal: boolean,
    cause: unknown,
  ) {
    super(summary, `${summary}: ${description}. ${remedy}`, cause);
  }
}

/** What the operator has to know and do, where the error says that MongoDB refuses and is not merely away. */
export function refusalOf(error: unknown, connection: MongoConnection): MongoRefusal | undefined {
  const refusal = (summary: string, remedy: string, isFinal: boolean) =>
    new MongoRefusal(summary, connection, remedy, isFinal, error);
  if (hasCode(error, authenticationFailed, atlasError)) {
    return refusal(
      'MongoDB does not accept the credentials',
      'Check username and password, and that the user was created in that database (or name another with ?authSource= in server_url).',
      true,
    );
  }
  if (hasCode(error, unauthorized)) {
    return refusal(
      'MongoDB does not let sessman read, write and index its collection',
      'Set username and password, and give that user the role readWrite on the database.',
      true,
    );
  }
  if (!(error instanceof MongoServerSelectionError)) return undefined;
  const replicaSet = /[?&]replicaSet=([^&]+)/i.exec(connection.url)?.[1];
  const servers = [...(error.reason?.servers.values() ?? [])];
  if (replicaSet !== undefined && servers.length === 0) {
    return refusal(
      `no MongoDB server belongs to the replica set "${replicaSet}"`,
      'Check replicaSet in server_url against the name that rs.status() shows.',
      false,
    );
  }
  const isTls = /^mongodb\+srv:|[?&](?:tls|ssl)=true/i.test(connection.url);
  const tls = servers
    .map((server) => tlsProblem(server.error, isTls))
    .find((problem) => problem !== undefined);
  if (tls === undefined) return undefined;
  return refusal(
    `TLS to MongoDB fails (${tls})`,
    'Check tls in server_url: the server may not use TLS, or its certificate may need tlsCAFile.',
    false,
  );
}

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const unauthorized = 13;
const authenticationFailed = 18;
/** Atlas answers with this code where others say 18. */
const atlasError = 8000;

/** The code of an error of TLS, however deep it is buried. */
function tlsProblem(error: unknown, isTls: boolean): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string' && /SSL|TLS|CERT|SIGNED/.test(code)) return code;
    // A server without TLS closes the connection when it sees the handshake.
    if (isTls && code === 'ECONNRESET') return code;
  }
  return undefined;
}
