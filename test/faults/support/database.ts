import type { MongoServer } from '../../support/mongodb.js';
import { Server } from './server.js';

/** A server whose sessions are in that database, reached at `host`. */
export function serverOn(mongo: MongoServer, host = mongo.host): Promise<Server> {
  return Server.create({
    ini: '[plugin_parms]\nsessman=json=sessman.json',
    files: {
      'sessman.json': JSON.stringify({
        server_url: host,
        username: mongo.user,
        password: mongo.password,
        database: mongo.database,
      }),
    },
  });
}
