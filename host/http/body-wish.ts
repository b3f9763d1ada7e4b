import type { Router } from '@koa/router';
import { bodyKindOf, type RouteSpec, routeOf } from '../kit/route.js';

/** How a route receives its body. */
export interface BodyWish {
  /** `parsed`: JSON or a form, read before the route runs; `raw`: the bytes; `stream`: unread. */
  readonly kind: 'parsed' | 'raw' | 'stream';
  /** A schema says which JSON it takes, so a text or a number may come as well. */
  readonly anyJson?: boolean;
  /** Bytes. Undefined: as in `[limits]`, and without a limit for a stream. */
  readonly limit: number | undefined;
  /** Milliseconds for the request to arrive; for a stream, those without a byte. Undefined: as in `[limits]`. */
  readonly timeout: number | undefined;
}

/** The limits in the plugin's line: bytes and milliseconds. */
export interface BodyBounds {
  readonly limit: number | undefined;
  readonly timeout: number | undefined;
}

export const UNBOUND: BodyBounds = { limit: undefined, timeout: undefined };

type Layer = Router['stack'][number];

/** The wishes of the routes of one router, by the layers that a path and a method lead to. */
export function bodyWishes(bounds: BodyBounds): (layers: readonly Layer[]) => BodyWish {
  const plain: BodyWish = { kind: 'parsed', ...bounds };
  const known = new WeakMap<Layer, BodyWish>();
  return (layers) => {
    // Those behind it run only when its handler calls next().
    const layer = layers.find(({ methods }) => methods.length > 0);
    if (layer === undefined) return plain;
    let wish = known.get(layer);
    if (wish === undefined) {
      const spec = layer.stack.map(routeOf).find((found) => found !== undefined);
      wish = spec === undefined ? plain : wishOf(spec, bounds);
      known.set(layer, wish);
    }
    return wish;
  };
}

function wishOf(spec: RouteSpec, { limit, timeout }: BodyBounds): BodyWish {
  const { bodyLimit, requestTimeout } = spec;
  return {
    kind: bodyKindOf(spec),
    anyJson: spec.body !== undefined,
    limit: smaller(bodyLimit, limit),
    timeout: smaller(requestTimeout === undefined ? undefined : requestTimeout * 1000, timeout),
  };
}

function smaller(asked: number | undefined, bound: number | undefined): number | undefined {
  return asked === undefined || bound === undefined ? (asked ?? bound) : Math.min(asked, bound);
}
