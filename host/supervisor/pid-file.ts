import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type Commands,
  type ControlConnection,
  ControlSocket,
  connectTo,
  isAnswered,
} from './control-socket.js';
import { StartFailure } from './start-failure.js';

/**
 * The pid file of a running server, with a control socket beside it (`FILE.sock`).
 *
 * The pid may belong to another program by now. The socket settles that: the kernel closes it with its process, so a file
 * whose socket does not respond is stale, whatever runs under its pid.
 */
export class PidFile {
  readonly #socket: ControlSocket;

  private constructor(
    readonly path: string,
    socket: ControlSocket,
  ) {
    this.#socket = socket;
  }

  /** Rejects with a StartFailure when the file belongs to a running server. */
  static async refuseIfTaken(path: string): Promise<void> {
    const pid = readPid(path);
    if (pid !== undefined && pid !== process.pid && (await isAnswered(socketOf(path))))
      throw taken(path, pid);
  }

  /** Writes the file and opens the socket. Rejects with a StartFailure when either fails. */
  static async write(path: string, commands: Commands): Promise<PidFile> {
    const stale = readPid(path);
    await PidFile.refuseIfTaken(path);
    // When two servers start at once, the second finds a pid that it has not checked.
    const now = readPid(path);
    if (now !== stale) throw taken(path, now);
    try {
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
      return new PidFile(path, await ControlSocket.open(socketOf(path), commands));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new StartFailure(
        `The pid file ${path} cannot be written (${code ?? message}); make its folder writable, or set another "pidfile" in [paths].`,
      );
    }
  }

  /** Closes the socket, and removes the file unless another server has written it since. */
  remove(): void {
    this.#socket.close();
    if (readPid(this.path) === process.pid) rmSync(this.path, { force: true });
  }
}

/** The pid in the file, or undefined without a file or a valid pid. */
export function readPid(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Connects to the server that wrote the pid file. Undefined when it does not run. */
export function connectToServer(path: string): Promise<ControlConnection | undefined> {
  return connectTo(socketOf(path));
}

function socketOf(path: string): string {
  return `${path}.sock`;
}

function taken(path: string, pid: number | undefined): StartFailure {
  const which = pid === undefined ? '' : ` (pid ${pid})`;
  return new StartFailure(
    `A server with the pid file ${path} is already running${which}; stop it, or set another "pidfile" in [paths].`,
  );
}
