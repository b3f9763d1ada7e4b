import { type Configuration, childAt } from '../../config/index.js';
import {
  type Connecting,
  ConnectionSettingError,
  mongoConnection,
} from '../../databases/mongodb/connection.js';

/** `[storage]`, where it names a server. */
export interface StorageSettings {
  readonly server_url: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
}

/** Who connects, and to which database where `[storage]` names none. */
export const connecting: Connecting = { name: 'plugin-server', database: 'plugin_server' };

/** What the schema of `[storage]` made of it, after having reported what no schema finds; undefined where no server is named. */
export function storageSettings(
  configuration: Configuration,
  { server_url, ...rest }: Partial<StorageSettings>,
): StorageSettings | undefined {
  const section = configuration.section('storage');
  if (section === undefined) return undefined;
  if (server_url === undefined) {
    const given = Object.keys(rest).find((key) => childAt(section, key) !== undefined);
    if (given !== undefined) {
      configuration.report(
        childAt(section, given)!,
        `${given} applies to MongoDB, which requires server_url`,
        'write server_url=HOST:PORT, or remove it',
      );
    }
    return undefined;
  }
  const settings = { server_url, ...rest };
  try {
    mongoConnection(settings, connecting);
    return settings;
  } catch (error) {
    if (!(error instanceof ConnectionSettingError)) throw error;
    const [message, hint] = split(error.message);
    configuration.report(childAt(section, error.key) ?? section, message, hint);
    return undefined;
  }
}

/** The remedy follows the semicolon. */
function split(message: string): readonly [message: string, hint: string | undefined] {
  const at = message.indexOf('; ');
  return at === -1 ? [message, undefined] : [message.slice(0, at), message.slice(at + 2)];
}
