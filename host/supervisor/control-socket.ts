import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { createInterface } from 'node:readline';

/** What each command does. Its result is sent back as JSON. */
export type Commands = Readonly<Record<string, () => Promise<unknown>>>;

/**
 * The Unix socket over which `plugin-server reload` sends commands to the running server: one command per line, one JSON
 * response per line. Only the server's user and root may open it.
 */
export class ControlSocket {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {}

  /** Replaces a socket that a killed server left behind. */
  static async open(path: string, commands: Commands): Promise<ControlSocket> {
    const server = createServer((connection) => serve(connection, commands));
    rmSync(path, { force: true });
    inFolderOf(path, (name) => {
      const umask = process.umask(0o177);
      server.listen(name);
      process.umask(umask);
    });
    await once(server, 'listening');
    server.on('error', () => {});
    server.unref();
    return new ControlSocket(server, path);
  }

  close(): void {
    this.server.close();
    rmSync(this.path, { force: true });
  }
}

/** A connection to the running server. */
export interface ControlConnection {
  /** Resolves to the response, or to undefined when the server ended without one. */
  ask(command: string): Promise<unknown>;
  /** Resolves when the server has ended or closed the socket. */
  readonly closed: Promise<void>;
  close(): void;
}

/** Undefined when nothing listens there. Rejects when this user may not connect. */
export async function connectTo(path: string): Promise<ControlConnection | undefined> {
  const socket = inFolderOf(path, (name) => createConnection(name));
  if (socket === undefined) return undefined;
  try {
    await once(socket, 'connect');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') return undefined;
    throw error;
  }
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return {
    closed,
    close: () => socket.destroy(),
    async ask(command) {
      socket.write(`${command}\n`);
      for await (const line of createInterface({ input: socket })) return JSON.parse(line);
      return undefined;
    },
  };
}

/** Whether a server listens there, including one that this user may not connect to. */
export async function isAnswered(path: string): Promise<boolean> {
  try {
    const connection = await connectTo(path);
    connection?.close();
    return connection !== undefined;
  } catch {
    return true;
  }
}

async function serve(connection: Socket, commands: Commands): Promise<void> {
  connection.on('error', () => {});
  // A client that waits for this process to exit must not keep it alive.
  connection.unref();
  for await (const line of createInterface({ input: connection })) {
    const command = Object.hasOwn(commands, line) ? commands[line] : undefined;
    const answer = command === undefined ? { error: 'unknown command' } : await command();
    connection.write(`${JSON.stringify(answer)}\n`);
  }
}

/** The path of a Unix socket is limited to about 100 bytes; inside its folder, the name is enough. */
function inFolderOf<Result>(path: string, act: (name: string) => Result): Result | undefined {
  const before = process.cwd();
  try {
    process.chdir(dirname(path));
  } catch {
    return undefined;
  }
  try {
    return act(basename(path));
  } finally {
    process.chdir(before);
  }
}
