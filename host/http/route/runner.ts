import type Koa from 'koa';
import type { RouteRunner, RouteSpec } from '../../kit/route.js';
import { type Input, inputReader } from './input.js';
import { responder } from './output.js';

/**
 * What serves a route of the kit's `route()`: checks its input, calls its handler, and sets what that returns. With
 * `checksResponses` a value that its `response` does not describe is an error, as while the plugin is written.
 */
export function routeRunner(spec: RouteSpec, checksResponses: boolean): RouteRunner {
  const read = inputReader(spec);
  const respond = responder(spec, checksResponses);
  const handler = spec.handler as unknown as (input: Input) => unknown;
  const answer = (ctx: Koa.Context, input: Input) => {
    const value = handler(input);
    return isPromise(value) ? value.then((given) => respond(ctx, given)) : respond(ctx, value);
  };
  return (ctx) => {
    const input = read(ctx);
    return input instanceof Promise ? input.then((given) => answer(ctx, given)) : answer(ctx, input);
  };
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}
