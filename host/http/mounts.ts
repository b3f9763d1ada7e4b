import type { Router } from '@koa/router';
import type { RouteLabels } from '../monitor/metrics.js';
import type { KeyRing } from './api-key.js';
import { type CompiledRoutes, compileRoutes } from './fast/compiled-routes.js';

/** A router under its path, with the keys that open it. */
export interface Mount {
  /** The plugin's name; the host's own routes have `plugin-server`. */
  readonly name: string;
  /** `/sessman`, `/api/v1/hello`; no slash at the end. */
  readonly path: string;
  readonly router: Router;
  /** Undefined: no key is needed. */
  readonly keys: KeyRing | undefined;
  /** Needs no key on purpose, whatever the operator says of the plugin. */
  readonly open?: boolean;
  /** Answered however busy the server is and however often a client asks. */
  readonly always?: boolean;
}

export interface Mounted extends Mount {
  readonly routes: CompiledRoutes;
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

  constructor(labels: (plugin: string, route: string) => RouteLabels) {
    this.#labels = labels;
  }

  /** The mount that has the path already, if any. */
  add(mount: Mount): Mounted | undefined {
    const segment = firstSegment(mount.path, mount.path.length);
    const mounts = this.#bySegment.get(segment) ?? [];
    const taken = mounts.find((other) => other.path === mount.path);
    if (taken !== undefined) return taken;
    const { name, path, router } = mount;
    const routes = compileRoutes(router, (template) =>
      this.#labels(name, template === '/' ? path : path + template),
    );
    mounts.push({ ...mount, routes, labels: this.#labels(name, '') });
    mounts.sort((a, b) => b.path.length - a.path.length);
    this.#bySegment.set(segment, mounts);
    return undefined;
  }

  /** `end` is where the path ends in `url` and its query begins. */
  find(url: string, end: number): Mounted | undefined {
    const mounts = this.#bySegment.get(firstSegment(url, end));
    if (mounts === undefined) return undefined;
    for (const mount of mounts) {
      const { length } = mount.path;
      if (length <= end && (length === end || url.charCodeAt(length) === 47) && url.startsWith(mount.path))
        return mount;
    }
    return undefined;
  }

  *[Symbol.iterator](): Generator<Mounted> {
    for (const mounts of this.#bySegment.values()) yield* mounts;
  }
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
