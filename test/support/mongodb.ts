import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { type Engine, findEngine, writable } from './mongodb/engines.js';
import { freePort, ServerProcess } from './mongodb/process.js';

/** A database, and a user who lives in it (it is the user's authSource) and may read and write it, nothing else. */
export interface MongoDatabase {
  /** `127.0.0.1:27017` */
  readonly host: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** A whole URL with these credentials, or with others of the same database. */
  url(credentials?: { user?: string; password?: string }): string;
}

/** A running server of the MongoDB protocol with authentication on. */
export interface MongoServer extends MongoDatabase {
  /** `mongod`, `mongodb-memory-server`, `secantusdb` or `external`. */
  readonly engine: string;
  /** The URL of a user who may do everything. */
  readonly rootUrl: string;
  /** Another database with a user of its own; by default under a new name. */
  createDatabase(options?: { user?: string; password?: string; database?: string }): Promise<MongoDatabase>;
  /** Ends the server as a crash would. An external server cannot be killed, frozen or restarted. */
  kill(): Promise<void>;
  /** Stops the server's process where it stands: connections stay open, nothing is answered. */
  freeze(): void;
  thaw(): void;
  /** Starts the server, stopped before if need be, on the same port and data. */
  restart(): Promise<void>;
  /** Ends the server and removes its data; of an external server, the database. */
  stop(): Promise<void>;
}

export interface MongoOptions {
  /** How often expired documents are removed, in seconds; 1 by default. */
  readonly ttlSeconds?: number;
  /** A single server instead of a replica set of one. The driver retries writes on a replica set only. */
  readonly standalone?: boolean;
  /** Allows `configureFailPoint`, which the root user may then send. */
  readonly testCommands?: boolean;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
}

/** Has every character that is special in a URL, an INI file or a query string, and one outside ASCII. */
const oddPassword = 'p@ss:w/ö#?;&%';
const root = { user: 'root', password: 'root-secret' };

let shared: Promise<MongoServer> | undefined;

/**
 * The server that the whole test run shares, started on first use. Ask it for a database of your own with
 * `createDatabase()`. It ends with the process that started it, however that ends.
 */
export function sharedMongo(): Promise<MongoServer> {
  // Where tests have clocks of their own, nothing may go by the server's.
  shared ??= startMongo({ ttlSeconds: 3600 });
  return shared;
}

/** Starts a server, or uses the one at TEST_MONGODB_URL, the URL of a user who may create users. */
export async function startMongo(options: MongoOptions = {}): Promise<MongoServer> {
  const url = process.env.TEST_MONGODB_URL;
  return url ? new ExternalServer(url).open(options) : new OwnServer(await findEngine(), options).open();
}

abstract class Server implements MongoServer {
  abstract readonly engine: string;
  abstract readonly rootUrl: string;
  abstract readonly host: string;
  #own: MongoDatabase | undefined;

  protected async makeOwn(options: MongoOptions): Promise<this> {
    const { user = 'app', password = oddPassword, database } = options;
    this.#own = await this.createDatabase({ user, password, ...(database && { database }) });
    return this;
  }

  get user(): string {
    return this.#database.user;
  }
  get password(): string {
    return this.#database.password;
  }
  get database(): string {
    return this.#database.database;
  }
  url(credentials?: { user?: string; password?: string }): string {
    return this.#database.url(credentials);
  }
  get #database(): MongoDatabase {
    if (!this.#own) throw new Error('the server is not open yet');
    return this.#own;
  }

  async createDatabase(
    options: { user?: string; password?: string; database?: string } = {},
  ): Promise<MongoDatabase> {
    const { user = 'app', password = oddPassword } = options;
    const database = options.database ?? `test_${randomBytes(6).toString('hex')}`;
    await withClient(this.rootUrl, (client) => createUser(client, database, user, password, 'readWrite'));
    const host = this.host;
    return {
      host,
      user,
      password,
      database,
      url: (other) => mongoUrl(host, other?.user ?? user, other?.password ?? password, database),
    };
  }

  abstract kill(): Promise<void>;
  abstract freeze(): void;
  abstract thaw(): void;
  abstract restart(): Promise<void>;
  abstract stop(): Promise<void>;
}

/** A server that this process starts and ends. */
class OwnServer extends Server {
  readonly #engine: Engine;
  readonly #options: MongoOptions;
  #process!: ServerProcess;
  #port = 0;

  constructor(engine: Engine, options: MongoOptions) {
    super();
    this.#engine = engine;
    this.#options = options;
  }

  get engine(): string {
    return this.#engine.name;
  }
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }
  get rootUrl(): string {
    return mongoUrl(this.host, root.user, root.password, 'admin');
  }

  async open(): Promise<this> {
    const folder = await mkdtemp(join(tmpdir(), 'mongo-test-'));
    this.#process = new ServerProcess(folder);
    try {
      this.#port = await freePort();
      await this.#start({ auth: false });
      await withClient(`mongodb://${this.host}/?directConnection=true`, async (client) => {
        await this.#engine.prepare?.(client, {
          host: this.host,
          standalone: this.#options.standalone ?? false,
        });
        await createUser(client, 'admin', root.user, root.password, 'root');
      });
      // A gentle end would take seconds.
      await this.#process.end('SIGKILL');
      await this.#start({ auth: true });
      return await this.makeOwn(this.#options);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start({ auth }: { auth: boolean }): Promise<void> {
    const { ttlSeconds = 1, standalone = false, testCommands = false } = this.#options;
    const folder = this.#process.folder;
    const command = await this.#engine.command({
      port: this.#port,
      folder,
      auth,
      ttlSeconds,
      standalone,
      testCommands,
    });
    await this.#process.start(command, this.#port);
    const url = auth ? `${this.rootUrl}&` : `mongodb://${this.host}/?`;
    await withClient(`${url}directConnection=true`, async (client) => {
      await client.db('admin').command({ ping: 1 });
      if (auth) await writable(client);
    });
  }

  kill(): Promise<void> {
    return this.#process.end('SIGKILL');
  }
  freeze(): void {
    this.#process.signal('SIGSTOP');
  }
  thaw(): void {
    this.#process.signal('SIGCONT');
  }
  async restart(): Promise<void> {
    await this.#process.end('SIGTERM');
    await this.#start({ auth: true });
  }
  stop(): Promise<void> {
    return this.#process.remove();
  }
}

/** A server that someone else runs. */
class ExternalServer extends Server {
  readonly engine = 'external';
  readonly rootUrl: string;
  readonly host: string;

  constructor(url: string) {
    super();
    this.rootUrl = url;
    this.host = new URL(url.replace(/^mongodb(\+srv)?:/, 'http:')).host;
  }

  open(options: MongoOptions): Promise<this> {
    return this.makeOwn(options);
  }
  async kill(): Promise<void> {
    this.#refuse('kill');
  }
  freeze(): void {
    this.#refuse('freeze');
  }
  thaw(): void {
    this.#refuse('thaw');
  }
  async restart(): Promise<void> {
    this.#refuse('restart');
  }
  async stop(): Promise<void> {
    await withClient(this.rootUrl, async (client) => {
      await client.db(this.database).command({ dropUser: this.user });
      await client.db(this.database).dropDatabase();
    });
  }

  #refuse(what: string): never {
    throw new Error(
      `cannot ${what} the server of TEST_MONGODB_URL; unset it for tests that break their server`,
    );
  }
}

async function createUser(
  client: MongoClient,
  database: string,
  user: string,
  pwd: string,
  role: string,
): Promise<void> {
  await client.db(database).command({ createUser: user, pwd, roles: [{ role, db: database }] });
  // Not every engine has the user on disk when it answers, but none loses what came before a durable write.
  const durable = { writeConcern: { w: 'majority', journal: true } } as const;
  await client.db('admin').collection('users_made').insertOne({ user, database }, durable);
}

function mongoUrl(host: string, user: string, password: string, database: string): string {
  const name = encodeURIComponent(database);
  return `mongodb://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}/${name}?authSource=${name}`;
}

async function withClient(url: string, work: (client: MongoClient) => Promise<unknown>): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 20_000, maxPoolSize: 1 });
  try {
    await work(client);
  } finally {
    await client.close();
  }
}
