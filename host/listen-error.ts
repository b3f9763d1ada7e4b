import type { ListenOptions } from 'node:net';

/** The address to listen on cannot be had. The message says which it is and what to do. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string | undefined;

  constructor(cause: NodeJS.ErrnoException, { host, port }: ListenOptions) {
    super(describe(cause.code, `${host ?? ''}`, port ?? 0), { cause });
    this.code = cause.code;
  }
}

function describe(code: string | undefined, host: string, port: number): string {
  const place = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is taken: another process listens on ${place}; stop it, or write another port=int:N in [network]`;
    case 'EACCES':
      return `port ${port} may not be used by this user: ports below 1024 need a privilege; write a higher port=int:N in [network], or give the service CAP_NET_BIND_SERVICE`;
    case 'EADDRNOTAVAIL':
      return `${host} is no address of this machine; write one that is, or 0.0.0.0 for all, as bindto in [network]`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${host} cannot be resolved; write an address as bindto in [network]`;
    default:
      return `cannot listen on ${place} (${code ?? 'unknown error'})`;
  }
}
