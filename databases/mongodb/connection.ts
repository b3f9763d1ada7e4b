import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import type { MongoClientOptions } from 'mongodb';

/** Bytes of UTF-8 that MongoDB allows in a database's name. */
const maxDatabaseName = 63;

/** What the name of a database may be, and how to say so. */
export const databaseName = {
  pattern: /^[^/\\. "$*<>:|?\0]+$/,
  form: 'a database name contains none of / \\ . " $ * < > : | ? and no blank',
  isShort: (name: string) => Buffer.byteLength(name) <= maxDatabaseName,
  length: `a database name has at most ${maxDatabaseName} bytes of UTF-8; write a shorter one`,
};

/** A database, as an operator writes it. */
export interface MongoSettings {
  /** `host:port`, `host1,host2/database?replicaSet=name`, or a whole `mongodb://` or `mongodb+srv://` URL. */
  readonly server_url: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** By default the one named in `server_url`, else that of `Connecting`. */
  readonly database?: string | undefined;
}

/** Who connects. */
export interface Connecting {
  /** `sessman` */
  readonly name: string;
  /** The database where the settings name none. */
  readonly database: string;
}

export interface MongoConnection {
  /** Who connects. */
  readonly owner: string;
  readonly url: string;
  readonly options: MongoClientOptions;
  readonly database: string;
  /** Whether connections use TLS. */
  readonly tls: boolean;
  /** The replica set that the URL names. */
  readonly replicaSet: string | undefined;
  /** `user "app" at db1:27017,db2:27017, database "sessman"`: for messages, without the password. */
  readonly description: string;
}

/** A setting that cannot work, found without asking MongoDB. Its message holds no secret. */
export class ConnectionSettingError extends Error {
  override readonly name = 'ConnectionSettingError';

  constructor(
    readonly key: 'server_url' | 'username' | 'password',
    message: string,
  ) {
    super(message);
  }
}

export function mongoConnection(
  { server_url, username, password, database }: MongoSettings,
  connecting: Connecting,
): MongoConnection {
  const parts = urlPattern.exec(server_url.trim())?.groups;
  if (!parts?.hosts || (!parts.scheme && server_url.includes('://'))) {
    throw new ConnectionSettingError(
      'server_url',
      'server_url names no MongoDB server; write host:port, host1,host2/?replicaSet=name, or a mongodb:// URL',
    );
  }
  const { scheme = 'mongodb', userinfo, hosts, path = '', query = '' } = parts;
  checkCredentials(userinfo, username, password);
  const kept = query.split('&').filter((part) => part !== '' && isKept(part));
  const given = new URLSearchParams(kept.join('&'));
  checkParameters(given, connecting.name);
  const parameters = new Set(Array.from(given.keys(), (key) => key.toLowerCase()));

  const inPath = path === '' ? undefined : decode(path);
  const name = database ?? inPath ?? connecting.database;
  if (Buffer.byteLength(name) > maxDatabaseName) {
    throw new ConnectionSettingError(
      'server_url',
      `the database that server_url names has more than ${maxDatabaseName} bytes of UTF-8; write a shorter name`,
    );
  }
  const options: MongoClientOptions = {
    ...unlessGiven({ appName: connecting.name, ...tunable }, parameters),
    ...fixed,
  };
  if (username !== undefined) options.auth = { username, ...(password !== undefined && { password }) };
  // A path also names the authSource, as in every MongoDB URL; an SRV record may; some mechanisms have their own.
  const settled =
    inPath !== undefined ||
    scheme !== 'mongodb' ||
    parameters.has('authsource') ||
    parameters.has('authmechanism');
  if (!settled && (username !== undefined || userinfo !== undefined)) options.authSource = name;

  const url = `${scheme}://${userinfo === undefined ? '' : `${userinfo}@`}${hosts}/${path}${kept.length === 0 ? '' : `?${kept.join('&')}`}`;
  const { tls = false, replicaSet } = checkUrl(url, options);
  const user = username ?? (userinfo === undefined ? undefined : decode(userinfo.split(':')[0]!));
  return {
    owner: connecting.name,
    url,
    options,
    database: name,
    tls,
    replicaSet,
    description: `${user === undefined ? 'no user' : `user "${user}"`} at ${hosts}, database "${name}"`,
  };
}

const urlPattern =
  /^(?:(?<scheme>mongodb(?:\+srv)?):\/\/)?(?:(?<userinfo>[^@/?]*)@)?(?<hosts>[^@/?]*)(?:\/(?<path>[^?]*))?(?:\?(?<query>.*))?$/;

/**
 * With these, every request was measured to get its response within three seconds while a server was frozen. A URL may
 * override them. timeoutMS is never set: it can give one request the response to another.
 */
const tunable: MongoClientOptions = {
  maxPoolSize: 50,
  minPoolSize: 5,
  waitQueueTimeoutMS: 1000,
  serverSelectionTimeoutMS: 2000,
  connectTimeoutMS: 2000,
  heartbeatFrequencyMS: 2000,
  socketTimeoutMS: 1500,
  // Some servers, such as Amazon DocumentDB, refuse retryable writes. A write that is not retried is a 503.
  retryReads: true,
  retryWrites: true,
};

/** The guarantees of the stores rest on these: an acknowledged write is on most servers' disks, and the next read sees it. */
const fixed: MongoClientOptions = {
  writeConcern: { w: 'majority', journal: true },
  readPreference: 'primary',
};

/** URLs are copied with these in them. They are left out, and `fixed` holds. */
const setAside = new Set([
  'w',
  'journal',
  'j',
  'fsync',
  'readpreference',
  'readpreferencetags',
  'maxstalenessseconds',
]);

/** The operator's. The driver accepts more, of which some would change what it reads and writes. */
const accepted = new Set([
  'appname',
  ...Object.keys(tunable).map((key) => key.toLowerCase()),
  ...[
    'authmechanism',
    'authmechanismproperties',
    'authsource',
    'replicaset',
    'directconnection',
    'loadbalanced',
  ],
  ...['srvmaxhosts', 'srvservicename', 'localthresholdms', 'servermonitoringmode', 'readconcernlevel'],
  ...['maxconnecting', 'maxidletimems', 'wtimeoutms', 'wtimeout', 'compressors', 'zlibcompressionlevel'],
  ...['proxyhost', 'proxyport', 'proxyusername', 'proxypassword', 'family', 'autoselectfamily'],
  ...['autoselectfamilyattempttimeout', 'nodelay', 'maxadaptiveretries', 'enableoverloadretargeting'],
  ...['tls', 'ssl', 'tlsinsecure', 'tlsallowinvalidcertificates', 'tlsallowinvalidhostnames'],
  ...['tlscafile', 'tlscrlfile', 'tlscertificatekeyfile', 'tlscertificatekeyfilepassword'],
]);

const tlsFiles = ['tlscafile', 'tlscrlfile', 'tlscertificatekeyfile'];

function isKept(parameter: string): boolean {
  const [[key] = ['']] = new URLSearchParams(parameter);
  return !setAside.has(key.toLowerCase());
}

function checkParameters(parameters: URLSearchParams, owner: string): void {
  for (const [written, value] of parameters) {
    const key = written.toLowerCase();
    if (key === 'timeoutms') {
      throw refused(
        'timeoutMS in server_url can leave connections out of step with the server; remove it, or use socketTimeoutMS',
      );
    }
    if (!accepted.has(key)) {
      // With an @, it may be part of a password that lacks its percent-encoding.
      const name = `${parameters}`.includes('%40') ? 'an option' : `the option ${JSON.stringify(written)}`;
      throw refused(`server_url has ${name} that ${owner} does not accept; check its spelling, or remove it`);
    }
    if (key === 'readconcernlevel' && !/^(?:local|majority|linearizable)$/.test(value)) {
      throw refused('readConcernLevel in server_url is not local, majority or linearizable');
    }
    if (tlsFiles.includes(key)) checkReadable(written, value);
  }
}

function checkReadable(option: string, file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw refused(
      `the file that ${option} in server_url names cannot be read (${code}); write its absolute path`,
    );
  }
}

function refused(message: string): ConnectionSettingError {
  return new ConnectionSettingError('server_url', message);
}

function unlessGiven(options: MongoClientOptions, parameters: ReadonlySet<string>): MongoClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([key]) => !parameters.has(key.toLowerCase())));
}

function checkCredentials(userinfo?: string, username?: string, password?: string): void {
  if (userinfo !== undefined) decode(userinfo);
  if (userinfo !== undefined && (username !== undefined || password !== undefined)) {
    throw new ConnectionSettingError(
      'server_url',
      'server_url and username both name a user; keep one of them, preferably username and password, which need no percent-encoding',
    );
  }
  if (password !== undefined && username === undefined) {
    throw new ConnectionSettingError('password', 'password is set without username; set both');
  }
  if (username === '')
    throw new ConnectionSettingError('username', 'username is empty; leave it out for no user');
}

/** Lets the driver judge the URL and its parameters. */
function checkUrl(url: string, options: MongoClientOptions): MongoClientOptions {
  // Loaded only here: the driver takes longer to load, and more memory, than all that a server without MongoDB needs.
  const { MongoClient } = createRequire(import.meta.url)('mongodb') as typeof import('mongodb');
  try {
    return new MongoClient(url, options).options;
  } catch (error) {
    const { message } = error as Error;
    // The driver quotes parameters, which helps, but nothing that contains the URL may pass.
    const detail = message.includes('@') || message.includes('://') ? '' : `: ${message}`;
    throw new ConnectionSettingError('server_url', `server_url is not a valid MongoDB URL${detail}`);
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConnectionSettingError(
      'server_url',
      'server_url contains a % that encodes nothing; write %25 for a %',
    );
  }
}
