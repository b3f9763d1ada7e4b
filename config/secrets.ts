import type { Span } from './source.js';
import { literalSpans, parseTemplate } from './template.js';

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
  'credential',
];
const wholeNames = new Set(['pass', 'pwd', 'pw', 'pin']);
/** What such a name ends in when its value tells about a secret rather than is one: `token_ttl`, `password_file`. */
const about = /(file|path|name|header|ttl|age|length|timeout|type|count|size)$/;

/** Whether the value of a key with this name is taken for a secret: `password`, `apiKey`, `auth-token`, … */
export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[^a-z0-9]/g, '');
  if (wholeNames.has(plain)) return true;
  return words.some((word) => plain.includes(word)) && !about.test(plain);
}

/**
 * The stretches of a value that must not be shown: all of it under a secret name, else passwords in URLs and in
 * `name=value` pairs. References stay visible, since what they name is no secret; what they default to may be.
 */
export function secretSpans(name: string, value: string, start: number): Span[] {
  const secrets = isSecretName(name)
    ? [{ start, end: start + value.length }]
    : [...urlPasswords(value, start), ...namedSecrets(value, start)];
  if (secrets.length === 0 || !value.includes('$')) return secrets;
  const written = literalSpans(parseTemplate(value, start, () => {}));
  return secrets.flatMap((secret) => written.flatMap((span) => overlap(secret, span)));
}

/** `scheme://user:PASSWORD@host`: to the last `@`, since a password may hold one that should have been escaped. */
function urlPasswords(value: string, start: number): Span[] {
  const scheme = value.indexOf('://');
  if (scheme === -1) return [];
  const colon = value.indexOf(':', scheme + 3);
  const at = value.lastIndexOf('@');
  return colon !== -1 && colon < at ? [{ start: start + colon + 1, end: start + at }] : [];
}

/** `token=SECRET` in a URL's query or in a list of parameters: up to the next `&`. */
function namedSecrets(value: string, start: number): Span[] {
  const secrets: Span[] = [];
  let from = 0;
  for (const parameter of value.split('&')) {
    let nameStart = 0;
    for (let at = 0; at < parameter.length; at += 1) {
      if (parameter[at] === '=' && isSecretName(parameter.slice(nameStart, at))) {
        secrets.push({ start: start + from + at + 1, end: start + from + parameter.length });
        break;
      }
      if ('=?;, '.includes(parameter[at]!)) nameStart = at + 1;
    }
    from += parameter.length + 1;
  }
  return secrets;
}

function overlap(a: Span, b: Span): Span[] {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? [{ start, end }] : [];
}
