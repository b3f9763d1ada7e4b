import type { Store } from './store.js';

/** The names under which plugins keep values in a store, whether they run or not. Each costs one look-up. */
export async function dataNamesIn(store: Store): Promise<readonly string[]> {
  const names: string[] = [];
  for (let from = start; ; ) {
    const [first] = await store.page({ from, to: end, limit: 1, reverse: false });
    if (first === undefined) return names;
    const [name = ''] = first[0].split('/', 1);
    if (/^[a-z0-9]/.test(name)) names.push(name);
    // "0" sorts after "/", and so after everything under the name.
    from = `${name}0`;
  }
}

/** A name begins with a digit or a letter. */
const start = '0';
/** Sorts after every name. */
const end = '\u{10ffff}';
