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
  cookie: z.boolean().default(false).meta({ description: 'also keep the session id in a cookie' }),
  cookie_origins: z
    .array(z.url({ protocol: /^https?$/, error: 'write an origin, such as https://app.example.com' }))
    .default([])
    .meta({ description: "origins, besides the server's own, whose pages may use the cookie" }),
});

export type Settings = z.output<typeof ownSettings> & StoreSettings;

/** sessman's parameters: the keys of sessman.json, or of its line in `[plugin_parms]`. */
export const settingsSchema = z
  .object({ ...storeSettings, ...ownSettings.shape })
  .superRefine((settings, context) => {
    checkStoreSettings(settings as StoreSettings, (key, message) =>
      context.addIssue({ code: 'custom', path: [key], message }),
    );
  }) as unknown as z.ZodType<Settings>;
