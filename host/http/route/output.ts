import type Koa from 'koa';
import type { RouteSpec } from '../../kit/route.js';
import { isPlain, saidNothing } from '../fast/respond.js';
import { JSON_TYPE } from '../socket/response.js';
import { responseCheck } from './response-check.js';

/** Sets a handler's return value as the response. */
export function responder(
  { response }: RouteSpec,
  checksResponses: boolean,
): (ctx: Koa.Context, value: unknown) => void | Promise<void> {
  const set = response === undefined ? setValue : setJson;
  const respond = (ctx: Koa.Context, value: unknown) => {
    if (value !== undefined) set(ctx, value);
    else if (saidNothing(ctx)) ctx.status = 204;
  };
  if (!checksResponses || response === undefined) return respond;
  const check = responseCheck(response);
  return async (ctx, value) => {
    if (value !== undefined) await check(ctx, value);
    respond(ctx, value);
  };
}

function setValue(ctx: Koa.Context, value: unknown): void {
  // Koa would take a text that begins with < for HTML.
  if (typeof value === 'string' && !ctx.res.hasHeader('Content-Type')) ctx.type = 'text/plain';
  ctx.body = value;
}

function setJson(ctx: Koa.Context, value: unknown): void {
  if (isPlain(value)) {
    ctx.body = value;
    return;
  }
  const text = JSON.stringify(value);
  if (text === undefined)
    throw new TypeError(`the handler returned a ${typeof value}, which JSON cannot represent`);
  if (!/\bjson\b/i.test(ctx.type)) ctx.type = JSON_TYPE;
  ctx.body = text;
}
