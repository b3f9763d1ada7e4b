import type { SettingPath } from 'plugin-server';
import { type CookieSettings, cookieName, isSecure } from './cookie.js';

/** What the check of a plugin's configuration offers. */
interface Reporting {
  readonly config: CookieSettings & { readonly cookie: boolean; readonly cookie_origins: readonly string[] };
  readonly name: string;
  readonly auth: string;
  readonly https: boolean;
  readonly hosts: readonly string[];
  report(setting: SettingPath, message: string, hint?: string): void;
  warn(setting: SettingPath, message: string, hint?: string): void;
}

/** Finds cookie settings that contradict each other, or the server's, and those that do less than they seem to. */
export function checkCookie({ config, name, auth, https, hosts, report, warn }: Reporting): void {
  if (!config.cookie) return;
  const at = (key: string): SettingPath => ['plugin_parms', name, key];
  const secure = isSecure(config, https);
  const makeSecure =
    config.cookie_secure === false
      ? 'remove cookie_secure=false'
      : 'set cookie_secure to true, and serve by HTTPS';
  if (config.cookie_same_site === 'none' && !secure)
    report(
      at('cookie_same_site'),
      'browsers accept a cookie with SameSite=None only if it is Secure',
      makeSecure,
    );
  if (config.cookie_partitioned && !secure)
    report(at('cookie_partitioned'), 'browsers accept a partitioned cookie only if it is Secure', makeSecure);
  if (auth === 'none')
    warn(
      at('auth_type'),
      'auth_type=none opens nothing in cookie mode: a call without a key may do what its cookie may',
      'remove auth_type=none; set apikey in [auth] for the calls that need a key',
    );
  if (config.cookie_same_site === 'none') return;
  for (const [i, origin] of config.cookie_origins.entries()) {
    if (isOfOneSite(new URL(origin).hostname, [config.cookie_domain ?? [], hosts].flat())) continue;
    warn(
      [...at('cookie_origins'), i],
      `browsers send the cookie ${cookieName(config, secure)} to pages of ${origin} only if the server is of the same site`,
      'name the server in [network] hosts if it is; else set cookie_same_site to "none"',
    );
  }
}

/**
 * Whether the name lies in the site of one of the server's names, as far as that can be told without the list of public
 * suffixes: they share their last two labels.
 */
function isOfOneSite(name: string, servers: readonly string[]): boolean {
  const site = siteOf(name);
  return servers.some((server) => siteOf(server.replace(/^\*\./, '')) === site);
}

function siteOf(name: string): string {
  return /^[\d.]+$|:/.test(name) ? name : name.toLowerCase().split('.').slice(-2).join('.');
}
