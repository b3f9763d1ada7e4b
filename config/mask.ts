import type { Located } from './located.js';
import { mask } from './source.js';

/** A value as it may be shown: what is secret, or holds a secret, is masked. Objects and lists stay what they are. */
export function maskedValue({ children, value, secret }: Located): unknown {
  // A table or a list that holds a secret counts as one itself: look for the one in it.
  if (children === undefined || !holdsSecret(children)) {
    if (secret) return mask;
    if (children === undefined) return value;
  }
  if (Array.isArray(children)) return (children as readonly Located[]).map(maskedValue);
  const entries = [...(children as ReadonlyMap<string, Located>)];
  return Object.fromEntries(entries.map(([key, child]) => [key, maskedValue(child)]));
}

function holdsSecret(children: NonNullable<Located['children']>): boolean {
  for (const child of children.values() as Iterable<Located>) if (child.secret) return true;
  return false;
}
