import { z } from 'plugin-server';
import { checkStoreSettings, type StoreSettings, storeNames, storeSettings } from './stores/index.js';

const ownSettings = z.object({
  backend: z
    .enum(storeNames)
    .optional()
    .meta({
      description: `${storeNames.map((name) => `\`${name}\``).join(' or ')}; by default as \`server_url\` says`,
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
    description: 'the data of one session as JSON text; `[limits] body` limits whole requests',
    unit: 'bytes',
  }),
  max_sessions_per_user: z.int().min(0).max(10_000).default(0).meta({
    description: 'live sessions of one user; beyond it the session used longest ago ends; 0 for no limit',
  }),
  record: z
    .array(z.enum(['ip', 'user_agent']))
    .default([])
    .meta({
      description:
        'what is kept of a visitor, shown by `list` and `sessions`: `ip`, `user_agent`, as `new` and `renew` were told',
    }),
  cookie: z.boolean().default(false).meta({ description: 'cookie mode: sessions for browsers' }),
  cookie_data: z.enum(['none', 'read', 'write']).default('none').meta({
    description: 'what a caller with the cookie alone may do with `data`: `none`, `read` or `write`',
  }),
  cookie_name: z
    .string()
    .regex(/^[\w!#$%&'*+.^`|~-]{1,100}$/, "write letters, digits and !#$%&'*+-.^_`|~, such as PS_SESSID")
    .regex(/^(?!__(?:host|secure)-)/i, 'leave the prefix out: the server adds __Host- or __Secure- to it')
    .default('PS_SESSID')
    .meta({ description: 'its name, without the prefix that a Secure cookie has' }),
  cookie_secure: z.boolean().optional().meta({
    description:
      'whether browsers send it by HTTPS only, and the name gets the prefix `__Host-`, or `__Secure-` with a domain or another path; by default with `[ssl]` or `[network] proxy`',
  }),
  cookie_domain: z
    .string()
    .regex(
      /^(?=.{1,253}$)(?!.*\.\d+$)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i,
      'write a domain name, such as example.com',
    )
    .optional()
    .meta({ description: 'the domain whose hosts all receive it; by default the host that sets it' }),
  cookie_path: z
    .string()
    .regex(/^\/[\x21-\x3a\x3c-\x7e]*$/, 'write a path, such as /app')
    .default('/')
    .meta({ description: 'the path below which browsers send it' }),
  cookie_same_site: z
    .enum(['lax', 'strict', 'none'])
    .default('lax')
    .meta({ description: '`lax`, `strict` or `none`; none requires a Secure cookie' }),
  cookie_partitioned: z
    .boolean()
    .default(false)
    .meta({ description: 'a cookie for each site that embeds the page (CHIPS); requires a Secure cookie' }),
  cookie_origins: z
    .array(
      z
        .url({ protocol: /^https?$/, error: 'write an origin, such as https://app.example.com' })
        .refine(isOrigin, 'write an origin without a path, such as https://app.example.com'),
    )
    .default([])
    .meta({ description: "origins, besides the server's own, whose pages may use the cookie" }),
});

/** Whether a URL is one of a scheme, a host and a port alone. */
function isOrigin(url: string): boolean {
  if (!URL.canParse(url)) return true;
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
