import { z } from 'plugin-server';
import { ConnectionSettingError, mongoConnection } from './stores/mongodb/connection.js';

/** sessman's parameters: the keys of sessman.json, or of its line in `[plugin_parms]`. */
export const settingsSchema = z
  .object({
    server_url: z.string().min(1).optional().meta({
      description:
        'the MongoDB server: `host:port`, `host1,host2/?replicaSet=name`, or a whole `mongodb://` or `mongodb+srv://` URL; without it the embedded store is used',
      example: 'localhost:27017',
    }),
    username: z.string().optional().meta({ description: 'of the MongoDB user; any characters' }),
    password: z
      .string()
      .optional()
      .meta({ description: 'of the MongoDB user; any characters', secret: true }),
    database: z
      .string()
      .regex(
        /^[^/\\. "$*<>:|?\0]{1,63}$/,
        'a database name has 1 to 63 characters, none of them / \\ . " $ * < > : | ? or a blank',
      )
      .optional()
      .meta({
        description:
          'the MongoDB database, by default the one in `server_url`, else `sessman`; also the authSource unless the URL says otherwise',
      }),
    backend: z
      .enum(['mongodb', 'embedded'])
      .optional()
      .meta({ description: '`mongodb` or `embedded`; by default as `server_url` says' }),
    collection: z
      .string()
      .regex(/^(?!system\.)[A-Za-z_][\w.-]{0,100}$/, 'write a letter, then letters, digits, _ - or .')
      .default('sessions')
      .meta({ description: 'the MongoDB collection' }),
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
    path: z
      .string()
      .min(1)
      .optional()
      .meta({ description: "the embedded store's folder, by default under `[paths] data`" }),
    cookie: z.boolean().default(false).meta({ description: 'keep the session id in a cookie too' }),
    cookie_origins: z
      .array(z.url({ protocol: /^https?$/, error: 'write an origin, such as https://app.example.com' }))
      .default([])
      .meta({ description: "origins besides the server's own from which pages may use the cookie" }),
  })
  .superRefine((settings, context) => {
    const { backend, server_url, username, password, database } = settings;
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (server_url !== undefined) {
      try {
        mongoConnection({ server_url, username, password, database });
      } catch (error) {
        if (!(error instanceof ConnectionSettingError)) throw error;
        refuse(error.key, error.message);
      }
    } else if (backend === 'mongodb') {
      refuse('backend', 'mongodb needs server_url; write the server as host:port');
    } else if (username !== undefined || password !== undefined) {
      refuse(
        username === undefined ? 'password' : 'username',
        'it is for MongoDB, which needs server_url; write the server as host:port',
      );
    }
  });

export type Settings = z.output<typeof settingsSchema>;
