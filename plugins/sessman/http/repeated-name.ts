/**
 * A member that an object's JSON text names twice, of which a parser keeps the last without a word; undefined where
 * there is none. Names within its members do not count.
 */
export function repeatedName(text: string | undefined, parsed: object): string | undefined {
  if (text === undefined || !mayRepeat(text, parsed)) return undefined;
  const seen = new Set<string>();
  let depth = 0;
  for (const [token, quoted, colon] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth -= 1;
    else if (depth === 1 && colon !== undefined) {
      const key = JSON.parse(quoted!) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

/** A text, with the colon behind it where it is a name; or a bracket. */
const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")([ \t\n\r]*:)?|[{}[\]]/g;

/** Whether a closer look is worth it: most bodies hold each name once, and none that is escaped. */
function mayRepeat(text: string, parsed: object): boolean {
  if (text.includes('\\u')) return true;
  for (const name in parsed) {
    const quoted = `"${name}"`;
    if (text.indexOf(quoted) !== text.lastIndexOf(quoted)) return true;
  }
  return false;
}
