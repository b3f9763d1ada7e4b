import type { DifferenceName } from './differences.js';

export interface Parameter {
  readonly name: string;
  readonly value: string;
}

/** How a plugin of the Python server goes on here. */
interface Successor {
  readonly name: string;
  /** Parameters by their old name: the new name, or what became of them. */
  readonly parameters: Readonly<
    Record<string, { readonly name: string; readonly type?: 'int' } | DifferenceName>
  >;
  /** What is different about it, whatever its line says. */
  readonly differences: readonly DifferenceName[];
}

const kept = (...names: string[]) => Object.fromEntries(names.map((name) => [name, { name }]));

/** The parameters that the host takes of every line. */
const ofHost = kept('route_path', 'auth_type', 'auth', 'apikey', 'json');

/** By the name of the Python file, without its ending. */
export const successors: Readonly<Record<string, Successor>> = {
  sessman: {
    name: 'sessman',
    parameters: {
      ...ofHost,
      ...kept('server_url', 'username', 'password', 'database', 'collection'),
      session_ttl: { name: 'session_ttl', type: 'int' },
      backend: { name: 'backend' },
      vacuum_interval: 'vacuum_interval',
    },
    differences: ['session_cookie', 'session_get', 'session_address', 'stored_sessions'],
  },
  systeminfo: {
    name: 'systeminfo',
    parameters: { ...ofHost, iface: { name: 'interfaces' }, interval: { name: 'interval' } },
    differences: ['systeminfo_names'],
  },
  fileserve: { name: 'files', parameters: ofHost, differences: ['file_variables'] },
};

/** As Python's parse_qs reads them: blank values do not count, and the first of several does. */
export function readParameters(text: string): {
  parameters: Parameter[];
  decoded: boolean;
  ampersand: boolean;
} {
  const parameters = new Map<string, string>();
  let decoded = false;
  let ampersand = false;
  for (const pair of text.split('&')) {
    const at = pair.indexOf('=');
    if (at < 0 || at === pair.length - 1) continue;
    const name = pair.slice(0, at);
    const written = pair.slice(at + 1);
    const value = written.includes('${') ? written : decode(written);
    if (parameters.has(name)) continue;
    ampersand ||= value.includes('&');
    decoded ||= value !== written && !value.includes('&');
    parameters.set(name, value.includes('&') ? written : value);
  }
  return { parameters: [...parameters].map(([name, value]) => ({ name, value })), decoded, ampersand };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
