import { createRequire } from 'node:module';
import type { MongoClientOptions } from 'mongodb';

/** Bytes of UTF-8 that MongoDB allows in a database's name. */
export const maxDatabaseName = 63;

/** Where sessions are kept, as an operator writes it. */
export interface MongoSettings {
  /** `host:port`, `host1,host2/database?replicaSet=name`, or a whole `mongodb://` or `mongodb+srv://` URL. */
  readonly server_url: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** By default the one named in `server_url`, else `sessman`. */
  readonly database?: string | undefined;
}

export interface MongoConnection {
  readonly url: string;
  readonly options: MongoClientOptions;
  readonly database: string;
  /** `user "app" at db1:27017,db2:27017, database "sessman"`: for messages, without the password. */
  readonly description: string;
}

/** A setting that MongoDB cannot be reached with, found without asking it. Its message holds no secret. */
export class ConnectionSettingError extends Error {
  override readonly name = 'ConnectionSettingError';

  constructor(
    readonly key: 'server_url' | 'username' | 'password',
    message: string,
  ) {
    super(message);
  }
}

export function mongoConnection({
  server_url,
  username,
  password,
  database,
}: MongoSettings): MongoConnection {
  const parts = urlPattern.exec(server_url.trim())?.groups;
  if (!parts?.hosts || (!parts.scheme && server_url.includes('://'))) {
    throw new ConnectionSettingError(
      'server_url',
      'server_url names no MongoDB server; write host:port, host1,host2/?replicaSet=name, or a mongodb:// URL',
    );
  }
  const { scheme = 'mongodb', userinfo, hosts, path = '', query = '' } = parts;
  const parameters = new Map(
    Array.from(new URLSearchParams(query), ([key, value]) => [key.toLowerCase(), value]),
  );
  checkCredentials(userinfo, username, password);
  if (parameters.has('timeoutms')) {
    throw new ConnectionSettingError(
      'server_url',
      'timeoutMS in server_url can leave connections out of step with the server; leave it out, or use socketTimeoutMS',
    );
  }

  const inPath = path === '' ? undefined : decode(path);
  const name = database ?? inPath ?? 'sessman';
  if (Buffer.byteLength(name) > maxDatabaseName) {
    throw new ConnectionSettingError(
      'server_url',
      `the database that server_url names has more than ${maxDatabaseName} bytes of UTF-8; write a shorter name`,
    );
  }
  const options: MongoClientOptions = {
    ...unlessGiven(tunable, parameters),
    ...fixed,
  };
  if (username !== undefined) options.auth = { username, ...(password !== undefined && { password }) };
  // A path names the authSource too, as in every MongoDB URL; an SRV record may; some mechanisms have their own.
  const settled =
    inPath !== undefined ||
    scheme !== 'mongodb' ||
    parameters.has('authsource') ||
    parameters.has('authmechanism');
  if (!settled && (username !== undefined || userinfo !== undefined)) options.authSource = name;

  const url = `${scheme}://${userinfo === undefined ? '' : `${userinfo}@`}${hosts}/${path}${query && `?${query}`}`;
  checkUrl(url, options);
  const user = username ?? (userinfo === undefined ? undefined : decode(userinfo.split(':')[0]!));
  return {
    url,
    options,
    database: name,
    description: `${user === undefined ? 'no user' : `user "${user}"`} at ${hosts}, database "${name}"`,
  };
}

const urlPattern =
  /^(?:(?<scheme>mongodb(?:\+srv)?):\/\/)?(?:(?<userinfo>[^@/?]*)@)?(?<hosts>[^@/?]*)(?:\/(?<path>[^?]*))?(?:\?(?<query>.*))?$/;

/**
 * Measured to answer everything within three seconds while a server is frozen. Never timeoutMS: it can give one
 * request's answer to another. A URL may say otherwise.
 */
const tunable: MongoClientOptions = {
  appName: 'sessman',
  maxPoolSize: 50,
  minPoolSize: 5,
  waitQueueTimeoutMS: 1000,
  serverSelectionTimeoutMS: 2000,
  connectTimeoutMS: 2000,
  heartbeatFrequencyMS: 2000,
  socketTimeoutMS: 1500,
  // Some servers refuse retryable writes, such as Amazon DocumentDB. A write that is not retried is answered 503.
  retryReads: true,
  retryWrites: true,
};

/** What the promises of sessman rest on: a write that is answered is on most servers' disks, and the next read sees it. */
const fixed: MongoClientOptions = {
  writeConcern: { w: 'majority', journal: true },
  readPreference: 'primary',
};

function unlessGiven(
  options: MongoClientOptions,
  parameters: ReadonlyMap<string, string>,
): MongoClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([key]) => !parameters.has(key.toLowerCase())));
}

function checkCredentials(userinfo?: string, username?: string, password?: string): void {
  if (userinfo !== undefined) decode(userinfo);
  if (userinfo !== undefined && (username !== undefined || password !== undefined)) {
    throw new ConnectionSettingError(
      'server_url',
      'server_url holds a user and so does username; keep one of them, best username and password, which need no percent-encoding',
    );
  }
  if (password !== undefined && username === undefined) {
    throw new ConnectionSettingError('password', 'password is set without username; set both');
  }
  if (username === '')
    throw new ConnectionSettingError('username', 'username is empty; leave it out for no user');
}

/** Lets the driver judge the URL and its parameters. */
function checkUrl(url: string, options: MongoClientOptions): void {
  // Only now: the driver takes longer to load, and more memory, than all else that a server without MongoDB needs.
  const { MongoClient } = createRequire(import.meta.url)('mongodb') as typeof import('mongodb');
  try {
    new MongoClient(url, options);
  } catch (error) {
    const { message } = error as Error;
    // The driver quotes parameters, which help, but nothing that holds the URL may pass.
    const detail = message.includes('@') || message.includes('://') ? '' : `: ${message}`;
    throw new ConnectionSettingError(
      'server_url',
      `server_url is not one that MongoDB can be reached with${detail}`,
    );
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConnectionSettingError(
      'server_url',
      'server_url has a % that encodes nothing; write %25 for a %',
    );
  }
}
