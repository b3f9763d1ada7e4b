import { Router } from '@koa/router';
import { audienceOf } from '../kit/operation.js';
import type { Mount, MountTable } from './mounts.js';

/** Where the mounts of the public and of operators go: to one table, or with [admin] to two. */
export class Audiences {
  readonly #all: MountTable;
  readonly #operators: MountTable | undefined;

  constructor(all: MountTable, operators: MountTable | undefined) {
    this.#all = all;
    this.#operators = operators;
  }

  /** `isForOperators`: all of it. Otherwise those of its routes that are marked with `forOperators`. */
  add(mount: Mount, isForOperators: boolean): void {
    if (this.#operators === undefined) {
      this.#all.add(mount);
      return;
    }
    if (isForOperators) {
      this.#operators.add(mount);
      return;
    }
    const [everybody, operators] = split(mount.router);
    this.#all.add({ ...mount, router: everybody });
    if (operators !== undefined) this.#operators.add({ ...mount, router: operators });
  }

  /** Removes everything of a plugin. */
  remove(plugin: string): void {
    this.#all.remove(plugin);
    this.#operators?.remove(plugin);
  }
}

/** The router itself where none of its routes is for operators. */
function split(router: Router): [everybody: Router, operators: Router | undefined] {
  const audiences = new Map(
    router.stack.map((layer) => [layer, layer.stack.map(audienceOf).find((each) => each !== undefined)]),
  );
  if ([...audiences.values()].every((audience) => audience === undefined)) return [router, undefined];
  const part = (fits: (audience: ReturnType<typeof audienceOf>) => boolean) => {
    const copy = new Router(router.opts);
    copy.params = router.params;
    // Middleware of the router stands in front of both.
    copy.stack = router.stack.filter((layer) => layer.methods.length === 0 || fits(audiences.get(layer)));
    return copy;
  };
  return [part((audience) => audience !== 'operators'), part((audience) => audience !== undefined)];
}
