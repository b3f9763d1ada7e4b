/** First segments of paths that are the host's own. */
export const RESERVED_PATHS = ['livez', 'healthz', 'readyz', 'metrics', 'openapi.json', 'plugins', 'reload'];

/** Those that nobody may use while no global key is set. */
export const CONTROL_PATHS = ['/plugins', '/reload'];

/** `/api/hello` of `api/hello/`; undefined when it cannot be the path of a plugin. */
export function routePath(text: string): string | undefined {
  const trimmed = text.replace(/^\/|\/$/g, '');
  return /^[\w.~-]+(?:\/[\w.~-]+)*$/.test(trimmed) && !/(?:^|\/)\.{1,2}(?:\/|$)/.test(trimmed)
    ? `/${trimmed}`
    : undefined;
}

export function isReserved(path: string): boolean {
  return RESERVED_PATHS.includes(path.split('/')[1]!);
}

/** The form of a plugin's path, for messages. */
export const PATH_FORM =
  'write letters, digits, ".", "_", "~" and "-", with "/" between segments, such as api/hello';

/** Which plugin has which path: its own, and those that it adds in its setup. */
export class PathClaims {
  readonly #owners: Map<string, string>;

  constructor(plugins: Iterable<{ readonly name: string; readonly path: string }>) {
    this.#owners = new Map([...plugins].map(({ name, path }) => [path, name]));
  }

  /** The path as it is mounted. Throws an Error that says why the plugin cannot have it. */
  claim(text: string, plugin: string): string {
    const path = routePath(text);
    if (path === undefined) throw new Error(`"${text}" is not a valid path for a plugin`);
    if (isReserved(path)) throw new Error(`the path ${path} is reserved by the server`);
    const owner = this.#owners.get(path);
    if (owner !== undefined && owner !== plugin)
      throw new Error(`the path ${path} belongs to plugin "${owner}"`);
    this.#owners.set(path, plugin);
    return path;
  }
}
