import fc from 'fast-check';

export type Value = null | boolean | number | string | Value[] | { [name: string]: Value };
export type Members = { [name: string]: Value };

/** Few names, so that trees have many in common; some are those that objects inherit. */
export const memberName = fc.constantFrom('a', 'b', 'c', 'constructor', 'toString', '', '0', 'é');

/** Objects in objects over these names; lists and objects of every other kind are as good as leaves. */
export function trees(name: fc.Arbitrary<string>): fc.Arbitrary<Members> {
  return fc.letrec<{ value: Value; object: Members }>((tie) => ({
    object: fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    value: fc.oneof(
      { maxDepth: 3 },
      {
        weight: 3,
        arbitrary: fc.constantFrom<Value>(null, false, 0, 1, '', 'x', [], [1], [{ a: null }], {}),
      },
      { weight: 2, arbitrary: tie('object') },
    ),
  })).object;
}

export function isMembers(value: Value | undefined): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a path; undefined where there is none. */
export function at(root: Value | undefined, path: readonly string[]): Value | undefined {
  let found = root;
  for (const name of path) found = isMembers(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  return found;
}

/** The paths to everything in the objects of a value, inner ones included. */
export function pathsOf(value: Value | undefined, path: readonly string[] = []): string[][] {
  if (!isMembers(value)) return [];
  return Object.keys(value).flatMap((name) => [[...path, name], ...pathsOf(value[name], [...path, name])]);
}

/** A text that is the same for equal values, in whatever order their members are. */
export function canonical(value: Value | undefined): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isMembers(value)) return JSON.stringify(value) ?? 'nothing';
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}
