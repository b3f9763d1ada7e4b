import { childrenOf, type Located } from './located.js';
import { mask } from './source.js';

/** A value as it may be shown: what is secret, or holds a secret, is masked. Objects and lists stay what they are. */
export function maskedValue(located: Located): unknown {
  const { fields, items, value, secret } = located;
  const holdsSecret = [...childrenOf(located)].some(([, child]) => child.secret);
  // An object or a list that holds a secret counts as one itself: only the secret in it is masked.
  if (secret && !holdsSecret) return mask;
  if (items) return items.map(maskedValue);
  if (fields) return Object.fromEntries([...fields].map(([key, child]) => [key, maskedValue(child)]));
  return value;
}
