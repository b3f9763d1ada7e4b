/** A request's path below the served folder. */
export interface RequestPath {
  /** Decoded names, outermost first; none for the folder itself. */
  readonly names: readonly string[];
  /** Whether the path ends in a slash, and so asks for a folder. */
  readonly slash: boolean;
}

/**
 * Reads the raw path of a request (still percent-encoded, starting with a slash or empty) into names that each stand
 * for exactly one entry of one folder. Undefined for any other path, which no file may answer: steps such as `..`,
 * hidden names, separators or control characters in disguise, encodings that are not UTF-8.
 *
 * A name is decoded once, as RFC 3986 section 2.4 asks, so `%252e` is the name `%2e` and never a dot.
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

/** Whether a name may be served at all. Hidden names are not: `.env`, `.git` and `.htpasswd` are no one's business. */
export function isServable(name: string): boolean {
  return name !== '' && !name.startsWith('.') && !forbidden.test(name);
}

/** Separators of any platform, NUL and the other control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const forbidden = /[/\\\u0000-\u001f\u007f]/;

/** Names under which Windows opens something else than a file of that name: devices, streams, trimmed endings. */
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
