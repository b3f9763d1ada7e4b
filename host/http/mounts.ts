import type { Router } from '@koa/router';
import type Koa from 'koa';
import type { RouteLabels } from '../monitor/metrics.js';
import type { KeyRing } from './api-key.js';
import { type BodyBounds, bodyWishes, UNBOUND } from './body-wish.js';
import { type CompiledRoutes, compileRoutes } from './fast/compiled-routes.js';
import { type KeyGates, keyGates } from './key-gates.js';
import { composeUses } from './uses.js';

/** A router under its path, with the keys that open it. */
export interface Mount {
  /** The plugin's name; the host's own routes have `plugin-server`. */
  readonly name: string;
  /** The name of the plugin's package, if it differs. */
  readonly packageName?: string | undefined;
  /** `/sessman`, `/api/v1/hello`; no slash at the end. */
  readonly path: string;
  readonly router: Router;
  /** Undefined: no key is needed. */
  readonly keys: KeyRing | undefined;
  /** Requires no key, whatever the settings of the plugin are. */
  readonly open?: boolean;
  /** The plugin checks the keys itself. */
  readonly checksKeys?: boolean;
  /** Responds only to this spelling of its path. */
  readonly exact?: boolean;
  /** The plugin's middleware in front of the routes. */
  readonly middleware?: readonly Koa.Middleware[];
  /** Responds even if the server is overloaded or the client over its rate limit, under any host name. */
  readonly always?: boolean;
  /** Responds under any host name: monitors use internal names and addresses. */
  readonly anyHost?: boolean;
  /** Counts for no rate limit. */
  readonly unmetered?: boolean;
  /** CORS in place of the server's own. */
  readonly cors?: Koa.Middleware | undefined;
  /** The limits on bodies in the plugin's line. */
  readonly bounds?: BodyBounds;
  /** Its routes check keys themselves. */
  readonly ownKeys?: boolean;
  /** Without keys: throws for a request that is refused all the same. */
  readonly guard?: ((ctx: Koa.Context) => void) | undefined;
}

export interface Mounted extends Mount {
  readonly routes: CompiledRoutes;
  readonly uses: ReturnType<typeof composeUses> | undefined;
  readonly gates: KeyGates | undefined;
  /** Of a request that none of the routes took. */
  readonly labels: RouteLabels;
}

/**
 * Which plugin a path belongs to. One Map look-up by the first segment, so that the time does not grow with the number
 * of plugins; the few that share a first segment are tried from the longest path on.
 */
export class MountTable {
  readonly #bySegment = new Map<string, Mounted[]>();
  readonly #labels: (plugin: string, route: string) => RouteLabels;
  /** Has every path that no other mount has. */
  #fallback: Mounted | undefined;

  constructor(labels: (plugin: string, route: string) => RouteLabels) {
    this.#labels = labels;
  }

  /** Throws if another mount has the path. */
  add(mount: Mount): void {
    const segment = firstSegment(mount.path, mount.path.length);
    const mounts = this.#bySegment.get(segment) ?? [];
    const taken = mounts.find((other) => other.path === mount.path);
    if (taken !== undefined) {
      throw new Error(`"${mount.name}" and "${taken.name}" both claim the path ${mount.path}`);
    }
    mounts.push(this.#compile(mount));
    mounts.sort((a, b) => b.path.length - a.path.length);
    this.#bySegment.set(segment, mounts);
  }

  /** A mount with the path '' for all paths that no other has. */
  addFallback(mount: Mount): void {
    this.#fallback = this.#compile(mount);
  }

  #compile(mount: Mount): Mounted {
    const { name, path, router } = mount;
    const { middleware = [], bounds = UNBOUND, ownKeys = false } = mount;
    const routes = compileRoutes(
      router,
      (template) => this.#labels(name, template === '/' ? path : path + template),
      bodyWishes(bounds),
    );
    const uses = middleware.length === 0 ? undefined : composeUses(middleware, path);
    const gates = ownKeys ? keyGates(router) : undefined;
    return { ...mount, routes, uses, gates, labels: this.#labels(name, '') };
  }

  /** Removes everything of a plugin. */
  remove(name: string): void {
    for (const [segment, mounts] of this.#bySegment) {
      this.#bySegment.set(
        segment,
        mounts.filter((mount) => mount.name !== name),
      );
    }
  }

  /**
   * `end` is where the path ends in `url` and its query begins. A path with steps (`..`) has no mount: if a proxy in front or
   * a service behind a plugin resolved them, it would reach another path than the one whose key was checked.
   * Clients resolve them before they send a request (RFC 3986 section 5.2.4).
   */
  find(url: string, end: number): Mounted | undefined {
    if (hasSteps(url, end)) return undefined;
    const mounts = this.#bySegment.get(firstSegment(url, end));
    if (mounts === undefined) return this.#fallback;
    for (const mount of mounts) {
      const { length } = mount.path;
      if (length <= end && (length === end || url.charCodeAt(length) === 47) && url.startsWith(mount.path))
        return mount.exact === true && length !== end ? undefined : mount;
    }
    return this.#fallback;
  }

  *[Symbol.iterator](): Generator<Mounted> {
    for (const mounts of this.#bySegment.values()) yield* mounts;
  }
}

/** A segment `.` or `..`, however it is encoded, between separators of any kind. */
const STEP = /(?:[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:[/\\]|%2f|%5c|$)/i;

function hasSteps(url: string, end: number): boolean {
  const dot = url.indexOf('.');
  const encoded = url.indexOf('%');
  if ((dot < 0 || dot >= end) && (encoded < 0 || encoded >= end)) return false;
  return STEP.test(url.slice(0, end));
}

/** The rest of a request's path below its mount, `/` at least. */
export function pathBelow(mount: Mount, url: string, end: number): string {
  const { length } = mount.path;
  return length === end ? '/' : url.slice(length, end);
}

function firstSegment(path: string, end: number): string {
  const slash = path.indexOf('/', 1);
  return path.slice(1, slash < 0 || slash > end ? end : slash);
}
