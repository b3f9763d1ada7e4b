const LONGEST_PATH = 256;
/** Runs that may be a session id or another token. */
const TOKEN = /[\w-]{32,}/g;
/** `apikey=…` and its like, wherever a client has put them, the `=` encoded once more or not. */
const NAMED =
  /((?:key|session[-_]?id|token|secret|passw(?:or)?d|pwd|auth|credentials?|sig|signature|jwt)(?:=|%(?:25)*3d))[^/&;]+/gi;
/** A user and a password, as in front of a host. Looked for once in each segment: paths are long where somebody wants it. */
const USERINFO = /(?<=^|\/)[^/:@]*:[^/@]*@/g;
/** A query string or a fragment, its mark encoded once or more. */
const QUERY = /[?#]|%(?:25)*(?:3f|23)/i;

/** A text with everything masked that may be a token. */
export function maskTokens(text: string): string {
  return text.replaceAll(TOKEN, '[masked]');
}

/** The path of a request target, without its authority and query string, and with possible secrets masked. */
export function loggablePath(target: string): string {
  const query = target.search(QUERY);
  const end = query < 0 ? target.length : query;
  let start = 0;
  if (!target.startsWith('/')) {
    // The absolute form: a user and a password may stand before the host.
    const authority = target.indexOf('://');
    if (authority >= 0 && authority < end) {
      const slash = target.indexOf('/', authority + 3);
      start = slash < 0 || slash > end ? end : slash;
    }
  }
  const path = decoded(target.slice(start, end)) || '/';
  // Encoded text is decoded for the check, and masked before it is cut.
  return maskTokens(path.replaceAll(USERINFO, '[masked]@').replaceAll(NAMED, '$1[masked]')).slice(
    0,
    LONGEST_PATH,
  );
}

function decoded(path: string): string {
  if (!path.includes('%')) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path.replaceAll(/%[\da-f]{2}/gi, (code) => {
      const byte = Number.parseInt(code.slice(1), 16);
      return byte > 32 && byte < 127 ? String.fromCharCode(byte) : code;
    });
  }
}
