import type { ListenOptions } from 'node:net';

/** The address to listen on cannot be had. The message says which it is and what to do. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string | undefined;

  constructor(cause: NodeJS.ErrnoException, { host, port, path }: ListenOptions) {
    super(
      sentence(
        explainListening(cause, path === undefined ? { host: host ?? '', port: port ?? 0 } : { path }),
      ),
      {
        cause,
      },
    );
    this.code = cause.code;
  }
}

export interface Explanation {
  readonly message: string;
  readonly hint?: string;
  /** What it is about. */
  readonly at: 'address' | 'port';
}

/** Why an address cannot be listened on, and what to do. */
export function explainListening(
  error: NodeJS.ErrnoException,
  address: { readonly host: string; readonly port: number } | { readonly path: string },
  section = 'network',
): Explanation {
  if ('path' in address) return explainPath(error, address.path, section);
  const { host, port } = address;
  switch (error.code) {
    case 'EADDRINUSE':
      return {
        message: `port ${port} on ${host} is in use by another program`,
        hint: `stop that program, or set another "port" in [${section}]`,
        at: 'port',
      };
    case 'EACCES':
      return {
        message: `this user may not listen on port ${port}`,
        hint: `set "port" in [${section}] to 1024 or higher${section === 'network' ? ', or let systemd open the socket' : ''}`,
        at: 'port',
      };
    case 'EADDRNOTAVAIL':
      return {
        message: `${host} is not an address of this machine`,
        hint: `set "bindto" in [${section}] to an address of this machine, such as 127.0.0.1 or 0.0.0.0`,
        at: 'address',
      };
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return {
        message: `the name ${host} cannot be resolved`,
        hint: `set "bindto" in [${section}] to an address of this machine`,
        at: 'address',
      };
    default:
      return {
        message: `cannot listen on ${host}, port ${port} (${error.code ?? error.message})`,
        at: 'address',
      };
  }
}

/** It as a sentence. */
export function sentence({ message, hint }: Pick<Explanation, 'message' | 'hint'>): string {
  // A host name keeps its spelling.
  const text = message.replace(
    /^(?:port|this|the|another|cannot) /,
    (word) => word[0]!.toUpperCase() + word.slice(1),
  );
  return hint === undefined ? `${text}.` : `${text}; ${hint}.`;
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

function explainPath({ code, message }: NodeJS.ErrnoException, path: string, section: string): Explanation {
  const at = 'address';
  // The code says something else, by platform and release of Node.
  const bytes = Buffer.byteLength(path);
  if (bytes > longestPath) {
    return {
      message: `the path of the Unix socket ${path} has ${bytes} bytes; at most ${longestPath} are possible`,
      hint: `set another path in "bindto" in [${section}]`,
      at,
    };
  }
  switch (code) {
    case 'EADDRINUSE':
      return {
        message: `another program listens on the Unix socket ${path}, or a file already exists there`,
        hint: `stop that program, remove the file, or set another path in "bindto" in [${section}]`,
        at,
      };
    case 'ENOENT':
      return {
        message: `the folder of the Unix socket ${path} does not exist`,
        hint: `create it, or set another path in "bindto" in [${section}]`,
        at,
      };
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return {
        message: `this user may not create the Unix socket ${path} (${code})`,
        hint: `make its folder writable, or set another path in "bindto" in [${section}]`,
        at,
      };
    default:
      return {
        message: `cannot listen on the Unix socket ${path} (${code ?? message})`,
        hint: `set another path in "bindto" in [${section}]`,
        at,
      };
  }
}

/** Of an address of a Unix socket; macOS takes 103. */
const longestPath = process.platform === 'darwin' ? 103 : 107;
