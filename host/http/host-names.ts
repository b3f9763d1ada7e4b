import { isIP } from 'node:net';
import type Koa from 'koa';
import { hostError } from './errors.js';

/**
 * Names that a request may be addressed to: a list, with `*.example.org` for all names below it and `*` for any; or
 * `local`, which a page of another site cannot have by DNS rebinding.
 */
export type HostNames = readonly string[] | 'local';

/** Throws the 421 for a request that is addressed to another name. */
export type JudgeName = (ctx: Koa.Context) => void;

/**
 * Behind a trusted proxy, X-Forwarded-Host is the name that counts, and Host may also be the name or address by which the
 * proxy reaches the server. A request that names no host, as of HTTP/1.0, does not come from a browser.
 */
export function nameJudge(allowed: HostNames): JudgeName | undefined {
  if (allowed.includes('*')) return undefined;
  const names = new Set(allowed === 'local' ? [] : allowed.filter((name) => !name.startsWith('*.')));
  const suffixes =
    allowed === 'local' ? [] : allowed.filter((name) => name.startsWith('*.')).map(withoutStar);
  const accepts = (host: string) => {
    const name = nameOf(host);
    if (name === '') return true;
    if (allowed === 'local') return isLocal(name);
    return names.has(name) || suffixes.some((suffix) => name.endsWith(suffix));
  };
  /** Most requests come with the Host of the one before. */
  let accepted = '';
  const judge = (host: string) => {
    if (host === accepted) return;
    if (!accepts(host)) throw hostError('wrong_host');
    accepted = host;
  };
  return ({ req: { headers, url }, request }) => {
    // In the absolute form, the target names the host (RFC 9112 section 3.2.2).
    if (url!.charCodeAt(0) !== SLASH && URL.canParse(url!)) judge(new URL(url!).host);
    const forwarded = request.app.proxy ? headers['x-forwarded-host'] : undefined;
    if (forwarded === undefined) {
      if (headers.host !== undefined) judge(headers.host);
      return;
    }
    // Koa uses the first entry; the others, and Host, come from the proxies in between.
    const [first = '', ...others] = String(forwarded).split(',');
    judge(first.trim());
    for (const other of [headers.host ?? '', ...others]) {
      if (!isInternal(nameOf(other.trim()))) judge(other.trim());
    }
  };
}

const SLASH = 47;

/** Without port, brackets and the dot of a fully qualified name; in lower case. */
function nameOf(host: string): string {
  const name = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.split(':', 1)[0]!;
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

function isLocal(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0;
}

/** No name of public DNS, so that no page can come from it. */
function isInternal(name: string): boolean {
  return isLocal(name) || !name.includes('.');
}

function withoutStar(pattern: string): string {
  return pattern.slice(1);
}
