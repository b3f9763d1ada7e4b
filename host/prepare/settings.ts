import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import {
  addresses,
  boolean,
  type Configuration,
  childAt,
  choice,
  hostNames,
  integer,
  keys,
  type Located,
  list,
  nearest,
  networks,
  origins,
  text,
} from '../../config/index.js';

import { databaseName } from '../../databases/mongodb/connection.js';
import { type Listening, readAddresses, reportShared } from './listen-addresses.js';
import { type StorageSettings, storageSettings } from './storage-settings.js';

/**
 * The host's own INI sections. `check` uses these schemas, and docs/configuration.md is generated from
 * them. All numbers are integers.
 */
export const sections = {
  main: z
    .looseObject({
      safe: list().default([]).meta({ description: 'plugins that `start --safe` loads' }),
    })
    .meta({ description: 'Free values, for references from other sections.' }),
  network: z
    .strictObject({
      bindto: addresses().default('127.0.0.1').meta({
        description:
          'address or host name to listen on, or a `list:` of them; `unix:PATH` is a Unix socket, for its user and group',
      }),
      port: integer({ min: 0, max: 65535 })
        .default(6123)
        .meta({ description: 'port of all these addresses; 0 picks a free port and logs it' }),
      hosts: hostNames()
        .optional()
        .meta({
          description:
            'host names that the server accepts in Host, and behind a proxy in X-Forwarded-Host, such as `example.org` or `*.example.org`; ' +
            'a request for any other name gets 421. By default all; while no global key is set, only `localhost`, `*.localhost` and addresses',
        }),
      workers: z
        .union([integer({ min: 1, max: 256 }), z.literal('auto')])
        .default(1)
        .meta({ description: 'worker processes; `auto` is one per core' }),
      worker_timeout: integer({ min: 0 }).default(10).meta({
        description:
          'seconds after which a worker that does not respond, as in an endless loop, is replaced; 0 for never',
      }),
      stop_grace: integer({ min: 0 }).default(0).meta({
        description: 'seconds that the server continues to serve at a stop, while /readyz responds 503',
      }),
      stop_timeout: integer({ min: 1 })
        .default(25)
        .meta({ description: 'seconds that requests in flight get at a stop or reload' }),
      stream_grace: integer({ min: 0 }).default(60).meta({
        description:
          'seconds that WebSockets and event streams may stay on the old generation after a reload',
      }),
      proxy: z.union([boolean(), networks()]).default(false).meta({
        description:
          'trust X-Forwarded-For, -Host and -Proto, or Forwarded, from every client (`true`), or from the reverse proxies in this `list:` of addresses and networks',
      }),
    })
    .meta({ description: 'Where the server listens and how it stops.' }),
  paths: z
    .strictObject({
      plugins: text()
        .default('plugins')
        .meta({ description: 'the folder of plugins', aliases: ['pluginpath'] }),
      data: text().default('data').meta({ description: 'the folder for the data of plugins' }),
      pidfile: text()
        .optional()
        .meta({ description: 'where the process id is written while the server runs' }),
    })
    .meta({ description: 'Relative paths are relative to the INI file; `~` is the home directory.' }),
  ssl: z
    .strictObject({
      enabled: boolean().default(false).meta({ description: 'serve HTTPS' }),
      keyfile: text().optional().meta({ description: 'the private key, PEM' }),
      certfile: text().optional().meta({ description: 'the certificate with its chain, PEM' }),
    })
    .meta({ description: 'TLS. The files are read again at each reload.' }),
  auth: z
    .strictObject({
      apikey: keys()
        .optional()
        .meta({ description: 'the global API key, or a `list:` of keys that are all valid', secret: true }),
    })
    .meta({ description: 'Who may use plugins whose `auth_type` is `global`, and the control routes.' }),
  admin: z
    .strictObject({
      bindto: addresses().optional().meta({
        description:
          'as in [network]; by default 127.0.0.1, if there is a `port`. `unix:PATH` requires no port',
      }),
      port: integer({ min: 0, max: 65535 })
        .optional()
        .meta({ description: 'port; 0 picks a free port and logs it' }),
    })
    .meta({
      description:
        'Another address for operators: there alone, the server then serves /metrics, /plugins, /reload, /admin and the calls of other plugins for operators. Health routes respond at both addresses.',
    }),
  storage: z
    .strictObject({
      server_url: text().optional().meta({
        description:
          'the MongoDB server: `host:port`, `host1,host2/?replicaSet=name`, or a whole `mongodb://` or `mongodb+srv://` URL; without it a file under `[paths] data` is used',
      }),
      username: text()
        .optional()
        .meta({ description: 'name of the MongoDB user; any characters, nothing is encoded' }),
      password: text()
        .optional()
        .meta({ description: 'password of the MongoDB user, likewise', secret: true }),
      database: text()
        .regex(databaseName.pattern, databaseName.form)
        .refine(databaseName.isShort, databaseName.length)
        .optional()
        .meta({
          description:
            'the MongoDB database, by default the one in `server_url`, else `plugin_server`; also the authSource unless the URL says otherwise. Servers that share it share the storage',
        }),
    })
    .meta({
      description:
        'Where `storage()` and `every()` of plugins keep their values. In MongoDB, several hosts can share them.',
    }),
  cors: z
    .strictObject({
      enabled: boolean().default(false).meta({ description: 'allow requests from other origins' }),
      origin_url: origins().default([]).meta({
        description: 'the allowed origins, `scheme://host` or `scheme://host:port`; `*` alone allows any',
      }),
      allow_headers: list(
        text().regex(/^[\w!#$%&'*+.^`|~-]+$/, 'is not the name of a header; separate names with blanks'),
      )
        .default([])
        .meta({ description: 'request headers that pages may send, beside the usual ones' }),
    })
    .meta({ description: 'Cross-origin requests from pages.' }),
  log: z
    .strictObject({
      level: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info')
        .meta({ description: 'the lowest level that is written' }),
      format: choice(['json', 'pretty'])
        .optional()
        .meta({ description: '`pretty` on a terminal, else `json`' }),
      file: text().optional().meta({ description: 'a file instead of standard output' }),
    })
    .meta({ description: 'The log: one JSON line per event.' }),
  limits: z
    .strictObject({
      body: integer({ min: 1 })
        .default(1_048_576)
        .meta({ description: 'maximum size of a request body, in bytes' }),
      depth: integer({ min: 1 }).default(64).meta({ description: 'levels of nesting in a JSON body' }),
      header_timeout: integer({ min: 1 })
        .default(10)
        .meta({ description: 'seconds within which the head of a request must arrive' }),
      request_timeout: integer({ min: 1 }).default(30).meta({
        description:
          'seconds within which a whole request must arrive; for a body that a handler reads itself, seconds without a byte',
      }),
      keep_alive: integer({ min: 1 })
        .default(65)
        .meta({ description: 'seconds that an idle connection is kept' }),
      send_timeout: integer({ min: 1 })
        .default(30)
        .meta({ description: 'seconds for which a client may read nothing of its response' }),
      connections: integer({ min: 0 }).default(0).meta({
        description: 'open connections of all workers together; 0 for no limit but that of file descriptors',
      }),
      max_delay: integer({ min: 0 }).default(1000).meta({
        description:
          'milliseconds that a request may wait for its turn; after that it gets 503; 0 for no limit',
      }),
      worker_memory: integer({ min: 0 }).default(0).meta({
        description:
          'bytes of memory, without mapped files, over which a worker is replaced; 0 for no limit; Linux only',
      }),
      rate: integer({ min: 0 }).default(0).meta({
        description:
          'requests of one client in each `rate_window`; all workers count together; 0 for no limit',
      }),
      rate_window: integer({ min: 1, max: 86_400 })
        .default(60)
        .meta({ description: 'length of the window, in seconds' }),
      rate_by: choice(['address', 'key']).default('address').meta({
        description:
          'what identifies a client: its address, or its API key if it sends a valid one in a header or the query',
      }),
    })
    .meta({ description: 'What a client may ask of the server.' }),
};

/** The section with a line for each plugin's parameters. */
export const PARAMETERS = 'plugin_parms';

/** The host's part of the configuration, paths made absolute. */
export interface Settings {
  readonly safe: readonly string[];
  /** At least one. */
  readonly addresses: readonly Listening[];
  /** The addresses for operators. Undefined: the others serve them too. */
  readonly admin: readonly Listening[] | undefined;
  /** Undefined: any. */
  readonly hosts: readonly string[] | 'local' | undefined;
  readonly workers: number;
  /** Milliseconds; 0 for no limit. */
  readonly workerTimeout: number;
  /** Bytes; 0 for no limit. */
  readonly workerMemory: number;
  /** Milliseconds. */
  readonly stopGrace: number;
  readonly stopTimeout: number;
  readonly streamGrace: number;
  /** Whose X-Forwarded- headers are trusted: everybody's, nobody's, or those of these addresses and networks. */
  readonly proxy: boolean | readonly string[];
  readonly pluginsFolder: string;
  readonly dataFolder: string;
  readonly pidFile: string | undefined;
  readonly tls: { readonly keyFile: string; readonly certFile: string } | undefined;
  readonly apiKeys: readonly string[];
  readonly corsOrigins: readonly string[];
  /** Beside the usual ones. */
  readonly corsHeaders: readonly string[];
  readonly log: {
    readonly level: string;
    readonly format: 'json' | 'pretty' | undefined;
    readonly file: string | undefined;
  };
  readonly limits: {
    readonly body: number;
    readonly depth: number;
    readonly headerTimeout: number;
    readonly requestTimeout: number;
    readonly keepAlive: number;
    readonly sendTimeout: number;
    readonly connections: number;
    /** Milliseconds; 0 for no limit. */
    readonly maxDelay: number;
  };
  /** Undefined: the file of this host. */
  readonly storage: StorageSettings | undefined;
  /** Undefined: no limit. `window` is in seconds. */
  readonly rateLimit:
    | { readonly rate: number; readonly window: number; readonly by: 'address' | 'key' }
    | undefined;
}

/** The host's part, as far as it could be read. */
export interface ReadSettings {
  /** With defaults in place of mistakes. */
  readonly settings: Settings;
  /** False if there are mistakes; they are in `configuration.problems`. */
  readonly isSound: boolean;
  /** False if the plugins folder is wrong: mistakes that follow from it are not reported. */
  readonly isFolderKnown: boolean;
}

/** Every section is read, whatever is wrong with the others. */
export function readSettings(configuration: Configuration): ReadSettings {
  const before = configuration.problems.length;
  const { value: main } = configuration.readSound('main', sections.main);
  const { value: network, wrong: wrongNetwork } = configuration.readSound('network', sections.network);
  const { value: admin, wrong: wrongAdmin } = configuration.readSound('admin', sections.admin);
  const { value: paths, wrong: wrongPaths } = configuration.readSound('paths', sections.paths);
  const { value: ssl, wrong: wrongSsl } = configuration.readSound('ssl', sections.ssl);
  const { value: auth } = configuration.readSound('auth', sections.auth);
  const { value: storage, wrong: wrongStorage } = configuration.readSound('storage', sections.storage);
  const { value: cors, wrong: wrongCors } = configuration.readSound('cors', sections.cors);
  const { value: log } = configuration.readSound('log', sections.log);
  const { value: limits } = configuration.readSound('limits', sections.limits);

  const section = configuration.section('ssl');
  if (ssl.enabled && section !== undefined) {
    for (const key of ['keyfile', 'certfile'] as const) {
      if (ssl[key] === undefined && !wrongSsl.has(key)) {
        configuration.report(
          section,
          `[ssl] is enabled but has no ${key}`,
          `write ${key}=FILE, or enabled=false`,
        );
      }
    }
  }
  const corsSection = configuration.section('cors');
  if (cors.enabled && cors.origin_url.length === 0 && corsSection && !wrongCors.has('origin_url')) {
    configuration.report(
      corsSection,
      '[cors] is enabled but has no origin_url',
      'write origin_url=https://www.example.org, or enabled=false',
    );
  }
  warnOfShortKeys(configuration, childAt(configuration.section('auth'), 'apikey'));
  const { bindto, port } = network;
  const networkAddresses = readAddresses(configuration, 'network', bindto, port);
  const adminAddresses = readAdmin(configuration, admin, wrongAdmin);
  if (adminAddresses !== undefined) reportShared(configuration, networkAddresses, adminAddresses);
  const beyond = [bindto].flat().find((each) => !isThisMachine(each));
  if (believesAll(network.proxy) && !wrongNetwork.has('bindto') && beyond !== undefined) {
    const proxy = childAt(configuration.section('network'), 'proxy');
    if (proxy) {
      configuration.warn(
        proxy,
        `anyone who reaches ${beyond} can claim any client address: X-Forwarded- headers are believed`,
        'write the addresses of the proxies, such as proxy=list:10.0.0.7',
      );
    }
  }
  const memoryLimit = childAt(configuration.section('limits'), 'worker_memory');
  if (limits.worker_memory > 0 && process.platform !== 'linux' && memoryLimit) {
    configuration.warn(
      memoryLimit,
      'worker_memory has an effect on Linux only',
      'remove it, or limit the memory of the service with the tools of the system',
    );
  }
  const path = (text: string) => configuration.resolvePath(text);
  const apiKeys =
    auth.apikey === undefined ? [] : typeof auth.apikey === 'string' ? [auth.apikey] : auth.apikey;
  const settings: Settings = {
    safe: main.safe,
    addresses: networkAddresses,
    admin: adminAddresses,
    hosts: network.hosts ?? (apiKeys.length === 0 ? 'local' : undefined),
    workers: network.workers === 'auto' ? availableParallelism() : network.workers,
    workerTimeout: network.worker_timeout * 1000,
    workerMemory: limits.worker_memory,
    stopGrace: network.stop_grace * 1000,
    stopTimeout: network.stop_timeout * 1000,
    streamGrace: network.stream_grace * 1000,
    proxy: network.proxy,
    pluginsFolder: path(paths.plugins),
    dataFolder: path(paths.data),
    pidFile: paths.pidfile === undefined ? undefined : path(paths.pidfile),
    tls:
      ssl.enabled && ssl.keyfile !== undefined && ssl.certfile !== undefined
        ? { keyFile: path(ssl.keyfile), certFile: path(ssl.certfile) }
        : undefined,
    apiKeys,
    corsOrigins: cors.enabled ? cors.origin_url : [],
    corsHeaders: cors.allow_headers,
    log: { ...log, format: log.format, file: log.file === undefined ? undefined : path(log.file) },
    limits: {
      body: limits.body,
      depth: limits.depth,
      headerTimeout: limits.header_timeout,
      requestTimeout: limits.request_timeout,
      keepAlive: limits.keep_alive,
      sendTimeout: limits.send_timeout,
      connections: limits.connections,
      maxDelay: limits.max_delay,
    },
    storage: wrongStorage.size > 0 ? undefined : storageSettings(configuration, storage),
    rateLimit:
      limits.rate === 0 ? undefined : { rate: limits.rate, window: limits.rate_window, by: limits.rate_by },
  };
  return {
    settings,
    isSound: configuration.problems.length === before,
    isFolderKnown: !wrongPaths.has('plugins'),
  };
}

/** Undefined where [admin] has neither an address nor a port. */
function readAdmin(
  configuration: Configuration,
  { bindto, port }: z.output<typeof sections.admin>,
  wrong: ReadonlySet<string>,
): readonly Listening[] | undefined {
  if (bindto === undefined && port === undefined) return undefined;
  const written = bindto ?? '127.0.0.1';
  const needsPort = [written].flat().some((each) => !each.startsWith('unix:'));
  if (needsPort && port === undefined && !wrong.has('port')) {
    const section = configuration.section('admin')!;
    configuration.report(childAt(section, 'bindto') ?? section, '[admin] has no port', 'write port=int:6124');
  }
  return readAddresses(configuration, 'admin', written, port ?? 0);
}

/** A key shorter than this can be guessed. */
const SHORTEST_KEY = 16;

/** Warns of each key in `apikey` that can be guessed. The message has its length, never the key. */
export function warnOfShortKeys(configuration: Configuration, apikey: Located | undefined): void {
  if (apikey === undefined || apikey.broken) return;
  for (const key of apikey.items ?? [apikey]) {
    if (typeof key.value !== 'string' || key.value === '' || key.value.length >= SHORTEST_KEY) continue;
    const { length } = key.value;
    configuration.warn(
      key,
      `this API key has ${length} character${length === 1 ? '' : 's'} and can be guessed`,
      `use at least ${SHORTEST_KEY}, such as the output of: openssl rand -hex 32`,
    );
  }
}

/** Where plugins' storages lie, unless they are on MongoDB. No plugin's data have such a name. */
export function storageFolder({ dataFolder }: Pick<Settings, 'dataFolder'>): string {
  return join(dataFolder, '_storage');
}

/** Whether browsers reach the server by HTTPS: with a certificate here, or with a proxy in front that has one. */
export function isHttps({ tls, proxy }: Settings): boolean {
  return tls !== undefined || proxy !== false;
}

function believesAll(proxy: boolean | readonly string[]): boolean {
  return typeof proxy === 'boolean' ? proxy : proxy.some((network) => network.endsWith('/0'));
}

function isThisMachine(bindTo: string): boolean {
  return /^(?:127\.\d+\.\d+\.\d+|::1|localhost|.*\.localhost|unix:.*)$/i.test(bindTo);
}

/**
 * Reports sections that nobody reads and whose names are nearly the host's or a plugin's. One of any other name is a
 * plugin's that is not here, or holds values for `${…}`.
 */
export function reportMisspeltSections(
  configuration: Configuration,
  pluginSections: readonly string[],
): void {
  const known = [...Object.keys(sections), PARAMETERS, ...pluginSections];
  for (const name of configuration.unusedSections) {
    const near = nearest(name, known);
    if (near === undefined) continue;
    configuration.report(
      configuration.section(name)!,
      `unknown section [${name}]`,
      `did you mean [${near}]?`,
    );
  }
}
