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
    description: 'the idle timeout: a session ends so long after it was last written, touched or renewed',
    unit: 'seconds',
  }),
  session_max_age: z.int().min(0).max(3_153_600_000).default(2_592_000).meta({
    description: 'the absolute timeout: a session ends so long after it was made; 0 for never',
    unit: 'seconds',
  }),
  max_data: z.int().min(2).max(15_000_000).default(262_144).meta({
    description: "one session's data as JSON text; `[limits] body` bounds requests",
    unit: 'bytes',
  }),
  max_sessions_per_user: z
    .int()
    .min(0)
    .max(10_000)
    .default(0)
    .meta({ description: 'over it the session used longest ago ends; 0 for no cap' }),
  cookie: z.boolean().default(false).meta({ description: 'keep the session id in a cookie too' }),
  cookie_origins: z
    .array(z.url({ protocol: /^https?$/, error: 'write an origin, such as https://app.example.com' }))
    .default([])
    .meta({ description: "origins besides the server's own from which pages may use the cookie" }),
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
