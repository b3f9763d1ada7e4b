import { distance } from 'fastest-levenshtein';

/** The form in which names of sections and keys are compared: in lower case. */
export function foldName(name: string): string {
  return name.toLowerCase();
}

/** A Map whose keys are names that are not case-sensitive. It lists them as they were first written. */
export class NameMap<Value> extends Map<string, Value> {
  readonly #written = new Map<string, string>();

  override get(name: string): Value | undefined {
    return super.get(this.written(name) ?? name);
  }

  override has(name: string): boolean {
    return this.#written.has(foldName(name));
  }

  override set(name: string, value: Value): this {
    const written = this.written(name) ?? name;
    this.#written.set(foldName(name), written);
    return super.set(written, value);
  }

  override delete(name: string): boolean {
    const written = this.written(name);
    this.#written.delete(foldName(name));
    return written !== undefined && super.delete(written);
  }

  override clear(): void {
    this.#written.clear();
    super.clear();
  }

  /** The name as it was first written. */
  written(name: string): string | undefined {
    return this.#written.get(foldName(name));
  }
}

/**
 * The candidate that `name` was probably meant to be, or undefined when none is close: the one reached by the fewest
 * edits, about one for every three characters, else the only one that begins with `name` or that `name` begins with.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = foldName(name);
  const all = first(mostCandidates, candidates);
  const allowed = wanted.length < 4 ? 1 : Math.max(2, Math.floor(wanted.length / 3));
  let best: string | undefined;
  let fewest = allowed + 1;
  for (const candidate of all) {
    if (Math.abs(candidate.length - wanted.length) >= fewest) continue;
    const edits = distance(wanted, foldName(candidate));
    if (edits < fewest && edits < wanted.length) {
      best = candidate;
      fewest = edits;
    }
  }
  if (best !== undefined || wanted.length < 3) return best;
  const related = all.filter((candidate) => {
    const other = foldName(candidate);
    return other.startsWith(wanted) || (other.length > 2 && wanted.startsWith(other));
  });
  return related.length === 1 ? related[0] : undefined;
}

/** Comparing a name with more of them than anybody would misspell takes too long where many names are wrong. */
const mostCandidates = 200;

function first<Item>(count: number, items: Iterable<Item>): Item[] {
  const taken: Item[] = [];
  for (const item of items) if (taken.push(item) === count) break;
  return taken;
}

/** A name in double quotes, as messages show it: what would not print is escaped, and a long one is cut. */
export function quoteName(name: string): string {
  return JSON.stringify(shortName(name)).replace(unprintable, escaped);
}

/** A name, cut so that the rest of a message fits. */
export function shortName(name: string): string {
  return name.length > 60 ? `${name.slice(0, 59)}…` : name;
}

/** Control characters, and those that reorder or hide text, which would let a file forge what a terminal shows. */
export const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
