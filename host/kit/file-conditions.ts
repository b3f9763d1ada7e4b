import type { Context } from 'koa';
import { fileError } from './file-errors.js';

/** What identifies the version of a file or page. */
export interface Validators {
  /** Strong, with its quotes. */
  readonly etag: string;
  readonly modified: Date;
}

/**
 * Sets the validators of the response and checks the request's conditions against them, in the order of RFC 9110
 * section 13.2.2. False when the response is complete without a body.
 */
export function startAnswer(ctx: Context, validators: Validators): boolean {
  if (!holdsPreconditions(ctx, validators)) throw fileError('precondition_failed');
  ctx.status = isKnown(ctx, validators) ? 304 : 200;
  ctx.set('ETag', validators.etag);
  ctx.lastModified = validators.modified;
  return ctx.status === 200;
}

/** Whether the client that asks for a part holds the rest of the same version (RFC 9110 section 13.1.5). */
export function isRangeFresh(ctx: Context, { etag, modified }: Validators): boolean {
  const condition = ctx.get('If-Range');
  if (condition === '' || condition === etag) return true;
  // Within the second of a change, the time does not tell two versions apart.
  return dateOf(condition) === secondsOf(modified) && secondsOf(modified) < secondsOf(new Date());
}

function holdsPreconditions(ctx: Context, { etag, modified }: Validators): boolean {
  const match = ctx.get('If-Match');
  if (match !== '') return match === '*' || tagsOf(match).includes(etag);
  const since = dateOf(ctx.get('If-Unmodified-Since'));
  return since === undefined || secondsOf(modified) <= since;
}

/** Whether the client has this version. A reload that bypasses all caches sends `no-cache` and gets it again. */
function isKnown(ctx: Context, { etag, modified }: Validators): boolean {
  const none = ctx.get('If-None-Match');
  const since = none === '' ? dateOf(ctx.get('If-Modified-Since')) : undefined;
  if ((none === '' && since === undefined) || /\bno-cache\b/i.test(ctx.get('Cache-Control'))) return false;
  if (none === '') return secondsOf(modified) <= since!;
  return none === '*' || tagsOf(none).some((tag) => tag.replace(/^W\//, '') === etag);
}

/** An entity tag (RFC 9110 section 8.8.3), which may contain commas, up to the comma or end after it. */
const entityTag = /[ \t,]*((?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)/y;

/** The entity tags of a list, up to the first thing that is not one. */
function tagsOf(list: string): string[] {
  const tags: string[] = [];
  entityTag.lastIndex = 0;
  for (let match = entityTag.exec(list); match; match = entityTag.exec(list)) tags.push(match[1]!);
  return tags;
}

/** The three forms of a date in HTTP (RFC 9110 section 5.6.7). Date.parse accepts nearly anything: `1`, `x 5`. */
const httpDate = new RegExp(
  [
    String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d MONTH \d{4} \d\d:\d\d:\d\d GMT$`,
    String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, \d\d-MONTH-\d\d \d\d:\d\d:\d\d GMT$`,
    String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) MONTH [ \d]\d \d\d:\d\d:\d\d \d{4}$`,
  ]
    .join('|')
    .replaceAll('MONTH', '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'),
);

/** The seconds of a date in HTTP. Undefined for anything else, which counts as absent. */
function dateOf(text: string): number | undefined {
  if (!httpDate.test(text)) return undefined;
  const time = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  return Number.isNaN(time) ? undefined : time / 1000;
}

/** Dates in HTTP have whole seconds. */
function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
