import type { ListenOptions } from 'node:net';

/** The address to listen on cannot be had. The message says which it is and what to do. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string | undefined;

  constructor(cause: NodeJS.ErrnoException, { host, port, path }: ListenOptions) {
    super(
      path === undefined
        ? explainListening(cause, host ?? '', port ?? 0)
        : explainListening(cause, path, undefined),
      {
        cause,
      },
    );
    this.code = cause.code;
  }
}

/** Why an address cannot be listened on, and what to do, as a sentence. Without a port, `host` is the path of a Unix socket. */
export function explainListening(
  error: NodeJS.ErrnoException,
  host: string,
  port: number | undefined,
): string {
  if (port === undefined) return explainPath(error, host);
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is in use by another program; stop that program, or set another "port" in [network].`;
    case 'EACCES':
      return `This user may not listen on port ${port}; set "port" in [network] to 1024 or higher, or let systemd open the socket.`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine; set "bindto" in [network] to an address of this machine, such as 127.0.0.1 or 0.0.0.0.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The name ${host} cannot be resolved; set "bindto" in [network] to an address of this machine.`;
    default:
      return `Cannot listen on ${host}, port ${port} (${error.code ?? error.message}).`;
  }
}

/** Why a plugin's own listener cannot have its address. */
export function explainPluginListening(
  { code, message }: NodeJS.ErrnoException,
  host: string,
  port: number,
): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is in use by another program; stop that program, or give the plugin another port`;
    case 'EACCES':
      return `this user may not listen on port ${port}; give the plugin a port from 1024`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${host} cannot be resolved`;
    default:
      return `cannot listen on ${host}, port ${port} (${code ?? message})`;
  }
}

function explainPath({ code, message }: NodeJS.ErrnoException, path: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `Another program listens on the Unix socket ${path}, or a file already exists there; stop that program, remove the file, or set another path in "bindto" in [network].`;
    case 'ENOENT':
      return `The folder of the Unix socket ${path} does not exist; create it, or set another path in "bindto" in [network].`;
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `This user may not create the Unix socket ${path} (${code}); make its folder writable, or set another path in "bindto" in [network].`;
    default:
      return `Cannot listen on the Unix socket ${path} (${code ?? message}); a path can have at most 107 bytes.`;
  }
}
