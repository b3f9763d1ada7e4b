import { z } from 'plugin-server';
import { checkStoreSettings, type StoreSettings, storeNames, storeSettings } from './stores/index.js';
import { plain } from './stores/keyring.js';

const encryptionKey = z
  .string()
  .refine(
    (key) => key === plain || /^[A-Za-z0-9+/]{43}=$/.test(key),
    'write 32 random bytes in base64, 44 characters, as `openssl rand -base64 32` prints them, or the word plain',
  );

const encryptionKeys = z.union([encryptionKey, z.array(encryptionKey).min(1)]).transform((keys, context) => {
  const list = typeof keys === 'string' ? [keys] : keys;
  if (new Set(list).size < list.length) context.addIssue('a key is listed twice; list each once');
  return list;
});

const ownSettings = z.object({
  backend: z
    .enum(storeNames)
    .optional()
    .meta({
      description: `${storeNames.map((name) => `\`${name}\``).join(' or ')}; the default depends on \`server_url\``,
    }),
  session_ttl: z.int().min(1).max(3_153_600_000).default(86_400).meta({
    description: 'the idle timeout: a session expires this many seconds after its last write, touch or renew',
    unit: 'seconds',
  }),
  session_max_age: z.int().min(0).max(3_153_600_000).default(2_592_000).meta({
    description:
      'the absolute timeout: a session expires this many seconds after it was created; 0 for never',
    unit: 'seconds',
  }),
  max_data: z.int().min(2).max(15_000_000).default(262_144).meta({
    description: 'the maximum size of the data of one session as JSON; `[limits] body` limits whole requests',
    unit: 'bytes',
  }),
  max_sessions_per_user: z.int().min(0).max(10_000).default(0).meta({
    description:
      'live sessions per user; a further one ends the session that was used least recently; 0 for no limit',
  }),
  removal_delay: z.int().min(0).max(86_400).default(600).meta({
    description:
      'how long the server leaves expired sessions in the store, so that a clock which jumps by less deletes none that live; MongoDB removes them by itself, at once',
    unit: 'seconds',
  }),
  max_clock_skew: z.int().min(0).max(86_400).default(0).meta({
    description:
      '`/readyz` responds 503 while the clocks of this host and of the store differ by more; 0 for no limit',
    unit: 'seconds',
  }),
  record: z
    .array(z.enum(['ip', 'user_agent']))
    .default([])
    .meta({
      description:
        'what to record of a visitor: `ip`, `user_agent`. `new` and `renew` receive them, `list` and `sessions` show them',
    }),
  encryption_key: encryptionKeys.optional().meta({
    description:
      'encrypts data, `about`, `ip` and `user_agent` in the store: 32 random bytes in base64, or a list of such keys; the first encrypts, all decrypt. `plain` in the list also reads what is not encrypted',
    secret: true,
  }),
  cookie: z.boolean().default(false).meta({ description: 'cookie mode: sessions for browsers' }),
  cookie_data: z.enum(['none', 'read', 'write']).default('none').meta({
    description: 'what a caller with only the cookie may do with `data`: nothing (`none`), `read` or `write`',
  }),
  cookie_name: z
    .string()
    .regex(/^[\w!#$%&'*+.^`|~-]{1,100}$/, "write letters, digits and !#$%&'*+-.^_`|~, such as PS_SESSID")
    .regex(/^(?!__(?:host|secure)-)/i, 'leave the prefix out: the server adds __Host- or __Secure- to it')
    .default('PS_SESSID')
    .meta({ description: 'the name of the cookie, without the prefix that a Secure cookie gets' }),
  cookie_secure: z.boolean().optional().meta({
    description:
      'send the cookie over HTTPS only, and prefix its name with `__Host-`, or with `__Secure-` if `cookie_domain` or `cookie_path` is set; by default true with `[ssl]` or `[network] proxy`',
  }),
  cookie_domain: z
    .string()
    .regex(
      /^(?=.{1,253}$)(?!.*\.\d+$)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i,
      'write a domain name, such as example.com',
    )
    .optional()
    .meta({
      description: 'the domain whose hosts all receive the cookie; by default only the host that sets it',
    }),
  cookie_path: z
    .string()
    .regex(/^\/[\x21-\x3a\x3c-\x7e]*$/, 'write a path, such as /app')
    .default('/')
    .meta({ description: 'the path below which browsers send the cookie' }),
  cookie_same_site: z.enum(['lax', 'strict', 'none']).default('lax').meta({
    description: 'SameSite of the cookie: `lax`, `strict` or `none`; `none` requires a Secure cookie',
  }),
  cookie_partitioned: z.boolean().default(false).meta({
    description: 'a separate cookie for each site that embeds the page (CHIPS); requires a Secure cookie',
  }),
  cookie_origins: z
    .array(
      z
        .url({ protocol: /^https?$/, error: 'write an origin, such as https://app.example.com', abort: true })
        .refine(isOrigin, 'write an origin without a path, such as https://app.example.com'),
    )
    .default([])
    .meta({ description: 'other origins whose pages may use the cookie' }),
});

/** Whether a URL has nothing but a scheme, a host and a port. */
function isOrigin(url: string): boolean {
  const { pathname, search, hash, username, password } = new URL(url);
  return pathname === '/' && search + hash + username + password === '' && !url.includes('?');
}

export type Settings = z.output<typeof ownSettings> & StoreSettings;

/** sessman's parameters: the keys of sessman.json, or of its line in `[plugin_parms]`. */
export const settingsSchema = z
  .object({ ...storeSettings, ...ownSettings.shape })
  .superRefine((settings, context) => {
    checkStoreSettings(settings as StoreSettings, (key, message) =>
      context.addIssue({ code: 'custom', path: [key], message }),
    );
  }) as unknown as z.ZodType<Settings>;
