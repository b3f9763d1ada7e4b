import type { Position } from '../../config/index.js';
import { positionAt, sourceOf } from './locate.js';

/** Comments and strings are single tokens, so that their content is ignored. */
const TOKEN =
  /\/\/.*|\/\*[\s\S]*?\*\/|'(?:\\.|[^\\'\n])*'|"(?:\\.|[^\\"\n])*"|`(?:\\[\s\S]|[^\\`])*`|[\w$]+|\S/g;
const MODIFIERS = new Set(['async', 'get', 'set', '*']);

/**
 * Where a member stands in the object that a file passes to a function: `setup` of `definePlugin({ setup() {} })`. The
 * place of the call when the member is not written there, and the file's beginning when the call is not.
 */
export function locateMember(file: string, call: string, member: string): Position {
  const content = sourceOf(file);
  const start = new RegExp(String.raw`\b${call}\s*(?:<[^(]*>)?\(\s*\{`).exec(content);
  if (start === null) {
    const written = content.lastIndexOf(`${call}(`);
    return positionAt(file, content, Math.max(0, written));
  }
  const body = start.index + start[0].length;
  let depth = 0;
  let beginsMember = true;
  for (const { 0: token, index } of content.slice(body).matchAll(TOKEN)) {
    if (/^\/[/*]/.test(token)) continue;
    if (beginsMember && MODIFIERS.has(token)) continue;
    if (beginsMember && unquoted(token) === member) return positionAt(file, content, body + index);
    beginsMember = depth === 0 && token === ',';
    if (/^[{([]$/.test(token)) depth += 1;
    if (/^[})\]]$/.test(token)) depth -= 1;
    if (depth < 0) break;
  }
  return positionAt(file, content, start.index);
}

/** The place of a file's second `export default`: Node refuses two, but compiled TypeScript silently keeps the last. */
export function secondDefaultExport(file: string): Position | undefined {
  const content = sourceOf(file);
  const tokens = [...content.matchAll(TOKEN)].filter(({ 0: token }) => !/^\/[/*]/.test(token));
  // Overloads of a function are one export.
  const found = tokens.filter(
    ({ 0: token }, i) =>
      token === 'export' && tokens[i + 1]?.[0] === 'default' && tokens[i + 2]?.[0] !== 'function',
  );
  return found[1] && positionAt(file, content, found[1].index);
}

function unquoted(token: string): string {
  return /^['"]/.test(token) ? token.slice(1, -1) : token;
}
