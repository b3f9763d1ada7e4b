import { z } from 'plugin-server';
import {
  ConnectionSettingError,
  databaseName,
  mongoConnection,
} from '../../../../databases/mongodb/connection.js';
import { storeKind } from '../store-kind.js';
import { connecting } from './connecting.js';

/** MongoDB, which is used where `server_url` names a server. */
export const mongodb = storeKind({
  settings: {
    server_url: z.string().optional().meta({
      description:
        'the MongoDB server: `host:port`, `host1,host2/?replicaSet=name`, or a whole `mongodb://` or `mongodb+srv://` URL; without it the embedded store is used',
      example: 'localhost:27017',
    }),
    username: z
      .string()
      .optional()
      .meta({ description: 'name of the MongoDB user; any characters, nothing is encoded' }),
    password: z
      .string()
      .optional()
      .meta({ description: 'password of the MongoDB user, likewise', secret: true }),
    database: z
      .string()
      .regex(databaseName.pattern, databaseName.form)
      .refine(databaseName.isShort, databaseName.length)
      .optional()
      .meta({
        description:
          'the MongoDB database, by default the one in `server_url`, else `sessman`; also the authSource unless the URL says otherwise',
      }),
    collection: z
      .string()
      .regex(
        /^(?!system\.)(?!.*\.(?:\.|$))[A-Za-z_][\w.-]{0,100}$/,
        'write a letter, then letters, digits, _ - or single dots between them',
      )
      .default('sessions')
      .meta({ description: 'the MongoDB collection' }),
  },
  isMeant: ({ server_url }) => server_url !== undefined,
  check({ backend, server_url, username, password, database }, report) {
    if (server_url !== undefined) {
      try {
        mongoConnection({ server_url, username, password, database }, connecting);
      } catch (error) {
        if (!(error instanceof ConnectionSettingError)) throw error;
        report(error.key, error.message);
      }
    } else if (backend === 'mongodb') {
      report('backend', 'mongodb requires server_url; write the server as host:port');
    } else if (username !== undefined || password !== undefined) {
      report(
        username === undefined ? 'password' : 'username',
        'applies to MongoDB, which requires server_url; write the server as host:port',
      );
    }
  },
  async open(settings, { log }) {
    const { MongoStore } = await import('./index.js');
    return MongoStore.open({ ...settings, server_url: settings.server_url!, log });
  },
});
