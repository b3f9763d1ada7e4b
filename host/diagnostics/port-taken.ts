/** The remedy when a plugin listens on a port that another process has: usually the previous worker. */
export function portRemedy(error: unknown): string | undefined {
  if ((error as NodeJS.ErrnoException | undefined)?.code !== 'EADDRINUSE') return undefined;
  return (
    'workers and reloads overlap, so another worker may still have the port: ' +
    'open it with listen(server, { port }) of the setup context, which all workers share'
  );
}
