/**
 * Sorts so that each plugin comes behind those in its `after`; names compare without case. Otherwise the order stays.
 * `absent` are names that may be missing.
 */
export function orderPlugins<Item extends { readonly name: string; readonly after: readonly string[] }>(
  items: readonly Item[],
  absent: readonly string[] = [],
): { readonly ordered: readonly Item[]; readonly faults: readonly OrderFault[] } {
  const byName = new Map(items.map((item) => [item.name.toLowerCase(), item]));
  const ordered: Item[] = [];
  const faults: OrderFault[] = [];
  const mayBeMissing = new Set(absent.map((name) => name.toLowerCase()));
  const done = new Set<Item>();
  const visit = (item: Item, trail: readonly Item[]): void => {
    if (done.has(item)) return;
    if (trail.includes(item)) {
      const circle = [...trail.slice(trail.indexOf(item)), item].map(({ name }) => name).join(' -> ');
      faults.push({ plugin: item.name, message: `circular dependency between plugins: ${circle}` });
      return;
    }
    for (const { name, optional } of item.after.map(parseAfter)) {
      const before = byName.get(name.toLowerCase());
      if (before === undefined) {
        if (optional || mayBeMissing.has(name.toLowerCase())) continue;
        faults.push({
          plugin: item.name,
          message: `plugin "${item.name}" depends on "${name}", which does not exist`,
          missing: name,
        });
      } else visit(before, [...trail, item]);
    }
    if (!done.has(item)) {
      done.add(item);
      ordered.push(item);
    }
  };
  for (const item of items) visit(item, []);
  return { ordered, faults };
}

/** An entry of `after`: `name`, or `name?` of a plugin that may be missing. */
export function parseAfter(entry: string): { readonly name: string; readonly optional: boolean } {
  const optional = entry.endsWith('?');
  return { name: optional ? entry.slice(0, -1) : entry, optional };
}

/** A plugin whose `after` cannot be satisfied. */
export interface OrderFault {
  readonly plugin: string;
  readonly message: string;
  /** The name that no plugin has, when that is the fault. */
  readonly missing?: string;
}
