import { isServable } from 'plugin-server';

/** A request's path below the served folder. */
export interface RequestPath {
  /** Decoded names, outermost first. Empty for the folder itself. */
  readonly names: readonly string[];
  /** Whether the path ends in a slash, which asks for a folder. */
  readonly slash: boolean;
}

/**
 * Splits the raw path of a request (percent-encoded, empty or starting with a slash) into names, each of exactly one
 * entry of one folder. Undefined for every other path, which no file may answer: steps such as `..`, hidden names,
 * encoded separators or control characters, encodings that are not UTF-8.
 *
 * A name is decoded once, as RFC 3986 section 2.4 requires, so `%252e` is the name `%2e` and never a dot.
 */
export function parseRequestPath(
  raw: string,
  windows = process.platform === 'win32',
): RequestPath | undefined {
  const segments = raw === '' ? [] : raw.split('/').slice(1);
  const slash = segments.at(-1) === '';
  if (slash) segments.pop();
  const names: string[] = [];
  for (const segment of segments) {
    const name = decode(segment);
    if (name === undefined || !isServable(name) || (windows && isWindowsAlias(name))) return undefined;
    names.push(name);
  }
  return { names, slash };
}

/** Names that open something other than a file of that name on Windows: devices, streams, trimmed endings. */
function isWindowsAlias(name: string): boolean {
  return (
    name.includes(':') ||
    /[. ]$/.test(name) ||
    /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])(\.|$)/i.test(name)
  );
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
