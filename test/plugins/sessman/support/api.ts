import { randomBytes } from 'node:crypto';
import { sharedMongo } from '../../../support/mongodb.js';
import { startServer, type TestServer, type TestServerOptions } from '../../../support/server.js';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: an answer's JSON, whose members the tests check
  readonly body: any;
  readonly text: string;
}

/** A server with sessman, and its calls as a client makes them. */
export interface Api {
  readonly server: TestServer;
  /** POST with parameters and data in a JSON body, unless `init` says otherwise. */
  post(path: string, body?: object, init?: RequestInit): Promise<Reply>;
  get(path: string, init?: RequestInit): Promise<Reply>;
  close(): Promise<void>;
}

export async function startApi(settings: object = {}, options: TestServerOptions = {}): Promise<Api> {
  const server = await startServer({
    ...options,
    ini: `${options.ini ?? ''}\n[plugin_parms]\nsessman=json=sessman.json\n`,
    files: { ...options.files, 'sessman.json': JSON.stringify(settings) },
  });
  return apiOf(server);
}

export function apiOf(server: TestServer): Api {
  const send = async (path: string, init: RequestInit): Promise<Reply> => {
    const response = await server.fetch(path, init);
    const text = await response.text();
    const isJson = text !== '' && response.headers.get('content-type')?.startsWith('application/json');
    const body = isJson ? JSON.parse(text) : undefined;
    // Whatever a test expects of an error, people read its sentence.
    if (response.status >= 400 && body !== undefined && !/^\S.{8,}[.A-Z]$/s.test(body.error))
      throw new Error(`an error without its sentence: ${text}`);
    return { status: response.status, headers: response.headers, text, body };
  };
  return {
    server,
    get: (path, init = {}) => send(path, init),
    post: (path, body, init = {}) =>
      send(path, {
        method: 'POST',
        ...(body && { body: JSON.stringify(body) }),
        ...init,
        headers: { ...(body && { 'Content-Type': 'application/json' }), ...init.headers },
      }),
    close: () => server.close(),
  };
}

/** The settings of each store, for tests of what must be the same on both. */
export const backends: readonly { name: string; settings: () => Promise<object> }[] = [
  { name: 'embedded', settings: async () => ({}) },
  {
    name: 'mongodb',
    settings: async () => {
      const { host, user, password, database } = await (await sharedMongo()).createDatabase();
      return { server_url: host, username: user, password, database };
    },
  },
];

export const apiKey = 'the-api-key-of-these-tests';

/** A server in cookie mode with an API key, as callers of each kind see it. */
export interface CookieApi {
  readonly api: Api;
  /** The headers of a server that holds the key. */
  readonly key: { readonly Authorization: string };
  /** Makes a session with the key. */
  login(userid: string, body?: object): Promise<{ id: string; handle: string; set: string }>;
  /** The headers of a browser with this session's cookie. */
  cookie(id: string): { readonly Cookie: string };
  /** Whether the session lives, as a server sees it. */
  lives(id: string): Promise<boolean>;
}

export async function startCookieApi(
  settings: object = {},
  options: TestServerOptions = {},
): Promise<CookieApi> {
  const api = await startApi(
    { cookie: true, ...settings },
    { ...options, ini: `[auth]\napikey=${apiKey}\n${options.ini ?? ''}` },
  );
  const key = { Authorization: `Bearer ${apiKey}` };
  return {
    api,
    key,
    async login(userid, body) {
      const made = await api.post('/sessman/new', { userid, ...body }, { headers: key });
      if (made.status !== 200) throw new Error(made.text);
      const { session_id: id, handle } = made.body;
      return { id, handle, set: made.headers.getSetCookie()[0] ?? '' };
    },
    cookie: (id) => ({ Cookie: `other=1; PS_SESSID=${id}` }),
    async lives(id) {
      const read = await api.get('/sessman/get', { headers: { ...key, 'X-Session-Id': id } });
      return read.status === 200;
    },
  };
}

export function aUser(): string {
  return `user ${randomBytes(6).toString('hex')}`;
}
