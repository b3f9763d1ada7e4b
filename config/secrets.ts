import { distance } from 'fastest-levenshtein';
import type { Span } from './source.js';
import { literalSpans, type Part, parseTemplate } from './template.js';

const words = [
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'apikey',
  'privatekey',
  'accesskey',
  'signingkey',
  'encryptionkey',
  'masterkey',
  'authkey',
  'authorization',
  'credential',
];
const wholeNames = new Set(['pass', 'pwd', 'pw', 'pin', 'passcode']);
/** Headers and parameters of requests, which a log line may show; a key of a file may be called `cookie`. */
const ofRequests = new Set(['cookie', 'setcookie', 'sessionid', 'xsessionid', 'xcustomauth']);
/** Endings of such names whose value only describes a secret: `token_ttl`, `password_file`. */
const about =
  /(?:file|path|folder|dir|url|uri|endpoint|name|header|field|prefix|ttl|age|length|timeout|type|count|size)$/;

/** Whether the value of a key with this name is taken for a secret: `password`, `apiKey`, `auth-token`, `pasword`, … */
export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[^a-z0-9]/g, '');
  if (wholeNames.has(plain) || words.some((word) => isMisspelt(plain, word))) return true;
  return words.some((word) => plain.includes(word)) && !about.test(plain);
}

/** The same for a member of a log line, which may also be a part of a request. */
export function isSecretMember(name: string): boolean {
  return isSecretName(name) || ofRequests.has(name.toLowerCase().replace(/[^a-z0-9]/g, ''));
}

/** One edit away; a short word could then be a different word. */
function isMisspelt(name: string, word: string): boolean {
  return word.length > 6 && Math.abs(name.length - word.length) <= 1 && distance(name, word) === 1;
}

/**
 * The spans of an INI value that must not be shown: all of it under a secret name, else the secrets within it.
 * References stay visible, because the names in them are not secret; their defaults may be.
 */
export function secretSpans(name: string, value: string, start: number): Span[] {
  const secrets = isSecretName(name) ? [{ start, end: start + value.length }] : embeddedSecrets(value, start);
  if (!value.includes('$')) return secrets;
  const parts = parseTemplate(value, start, () => {});
  return [...overlaps(secrets, literalSpans(parts)), ...secretDefaults(parts)];
}

/** Secrets in a text whose name does not say that it has any: passwords in URLs, `token=SECRET` in queries. */
export function embeddedSecrets(text: string, start = 0): Span[] {
  return [...urlPasswords(text, start), ...namedSecrets(text, start)];
}

/** `scheme://user:PASSWORD@host`: to the last `@`, since a password may hold one that should have been escaped. */
function urlPasswords(value: string, start: number): Span[] {
  const scheme = value.indexOf('://');
  if (scheme === -1) return [];
  const colon = value.indexOf(':', scheme + 3);
  const at = value.lastIndexOf('@');
  return colon !== -1 && colon + 1 < at ? [{ start: start + colon + 1, end: start + at }] : [];
}

/** `token=SECRET` in a URL's query or in a list of parameters: up to the next `&`. */
function namedSecrets(value: string, start: number): Span[] {
  const secrets: Span[] = [];
  let from = start;
  for (const parameter of value.split('&')) {
    let nameStart = 0;
    for (let at = 0; at < parameter.length; at += 1) {
      if (parameter[at] === '=' && isSecretName(parameter.slice(nameStart, at))) {
        if (at + 1 < parameter.length) secrets.push({ start: from + at + 1, end: from + parameter.length });
        break;
      }
      if ('=?;, '.includes(parameter[at]!)) nameStart = at + 1;
    }
    from += parameter.length + 1;
  }
  return secrets;
}

/** `${ENV:DB_PASSWORD:-DEFAULT}` */
function secretDefaults(parts: readonly Part[]): Span[] {
  return parts.flatMap((part) => {
    if (part.kind === 'text' || !part.fallback) return [];
    return part.environment && isSecretName(part.key)
      ? literalSpans(part.fallback)
      : secretDefaults(part.fallback);
  });
}

/** Where two lists of spans meet; the second one in order and without overlaps, so that it is walked once. */
function overlaps(secrets: readonly Span[], written: readonly Span[]): Span[] {
  const result: Span[] = [];
  let next = 0;
  for (const secret of secrets.toSorted((a, b) => a.start - b.start)) {
    while (next < written.length && written[next]!.end <= secret.start) next += 1;
    for (let index = next; index < written.length && written[index]!.start < secret.end; index += 1) {
      const { start, end } = written[index]!;
      result.push({ start: Math.max(start, secret.start), end: Math.min(end, secret.end) });
    }
  }
  return result;
}
