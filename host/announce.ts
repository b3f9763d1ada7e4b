export interface Announcement {
  readonly url: string;
  readonly plugins: readonly { readonly name: string; readonly path: string; readonly state: string }[];
  /** Those that need no key. */
  readonly open: readonly string[];
}

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Logs where the server listens and what it serves, and which open plugins other machines can reach. */
export function announce(log: Log, { url, plugins, open }: Announcement): void {
  log.info(
    { url, plugins: plugins.map(({ name, path, state }) => ({ name, path, state })) },
    `serving on ${url}`,
  );
  // Who reaches a Unix socket, the file system decides.
  if (open.length === 0 || url.includes('+unix:') || isLoopback(new URL(url).hostname)) return;
  log.warn(
    { plugins: open },
    `anyone who can reach ${url} can use these plugins without a key: ${open.join(', ')}`,
  );
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^(?:\[::ffff:)?127\./.test(hostname);
}
