export interface Announcement {
  /** At least one. */
  readonly urls: readonly string[];
  /** Those for operators alone. */
  readonly adminUrls: readonly string[];
  readonly plugins: readonly { readonly name: string; readonly path: string; readonly state: string }[];
  /** Those that need no key. */
  readonly open: readonly string[];
}

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Logs where the server listens and what it serves, and which open plugins other machines can reach. */
export function announce(log: Log, { urls, adminUrls, plugins, open }: Announcement): void {
  const [url] = urls;
  const isSplit = adminUrls.length > 0;
  log.info(
    {
      url,
      ...(urls.length > 1 && { urls }),
      ...(isSplit && { admin_urls: adminUrls }),
      plugins: plugins.map(({ name, path, state }) => ({ name, path, state })),
    },
    `serving on ${urls.join(' and ')}${isSplit ? `, operators on ${adminUrls.join(' and ')}` : ''}`,
  );
  // Who reaches a Unix socket, the file system decides.
  const reachable = urls.find((each) => !each.includes('+unix:') && !isLoopback(new URL(each).hostname));
  if (open.length === 0 || reachable === undefined) return;
  log.warn(
    { plugins: open },
    `anyone who can reach ${reachable} can use these plugins without a key: ${open.join(', ')}`,
  );
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^(?:\[::ffff:)?127\./.test(hostname);
}
