import { type Configuration, childAt, type Located, type Problem } from '../../config/index.js';

/** Where connections are accepted: an address and port, or the absolute path of a Unix socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** An address to listen on, and where it was written. */
export interface Listening {
  readonly address: Address;
  readonly section: 'network' | 'admin';
  /** Where it is written, and its port: the places of problems that show only when it is bound. Absent for defaults. */
  readonly atAddress?: Omit<Problem, 'message' | 'hint'> | undefined;
  readonly atPort?: Omit<Problem, 'message' | 'hint'> | undefined;
}

/** `written` is the value of `bindto` in the section, or its default. */
export function readAddresses(
  configuration: Configuration,
  name: Listening['section'],
  written: string | readonly string[],
  port: number,
): readonly Listening[] {
  const section = configuration.section(name);
  const bindTo = childAt(section, 'bindto');
  const atPort = placeOf(configuration, childAt(section, 'port'));
  const seen = new Map<string, string>();
  const texts = typeof written === 'string' ? [written] : written;
  return texts.map((text, index) => {
    const at = childAt(bindTo, index) ?? bindTo;
    const address: Address = text.startsWith('unix:')
      ? { path: configuration.resolvePath(text.slice('unix:'.length)) }
      : { host: text, port };
    const key = JSON.stringify(address);
    if (seen.has(key) && at !== undefined)
      configuration.report(at, `bindto in [${name}] names ${text} twice`, 'remove one of the two');
    if (text === '::' && texts.includes('0.0.0.0') && at !== undefined) {
      configuration.report(
        at,
        'a socket on :: accepts IPv4 connections too, and cannot stand beside 0.0.0.0',
        'write :: alone',
      );
    }
    seen.set(key, text);
    return {
      address,
      section: name,
      atAddress: placeOf(configuration, at),
      atPort: 'path' in address ? undefined : atPort,
    };
  });
}

/** Reports addresses of [admin] that are also in [network]. */
export function reportShared(
  configuration: Configuration,
  network: readonly Listening[],
  admin: readonly Listening[],
): void {
  const taken = new Set(network.map(keyOf));
  const section = configuration.section('admin')!;
  const bindTo = childAt(section, 'bindto');
  admin.forEach((each, index) => {
    if (!taken.has(keyOf(each)) || ('port' in each.address && each.address.port === 0)) return;
    configuration.report(
      childAt(section, 'port') ?? childAt(bindTo, index) ?? bindTo ?? section,
      '[admin] and [network] have the same address',
      'write another port, or another address',
    );
  });
}

function keyOf({ address }: Listening): string {
  return JSON.stringify(address);
}

function placeOf(configuration: Configuration, at: Located | undefined) {
  return at && configuration.placeOf(at);
}
