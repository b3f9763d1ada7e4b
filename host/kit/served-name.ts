/** Whether a name may be served. Hidden names may not: `.env`, `.git` and `.htpasswd` often hold secrets. */
export function isServable(name: string): boolean {
  return name !== '' && !name.startsWith('.') && !forbidden.test(name);
}

/** Separators of any platform, NUL and the other control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finds control characters
const forbidden = /[/\\\u0000-\u001f\u007f]/;
