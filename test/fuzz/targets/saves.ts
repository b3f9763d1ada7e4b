import { promisify } from 'node:util';
import { expect } from 'chai';
import type { SessionData } from 'express-session';
import fc from 'fast-check';
import { SessmanStore } from '../../../plugins/sessman/adapters/express.js';
import { rebase } from '../../../plugins/sessman/adapters/rebase.js';
import { startServer } from '../../support/server.js';
import {
  at,
  canonical,
  isMembers,
  type Members,
  memberName,
  pathsOf,
  trees,
  type Value,
} from '../support/trees.js';
import { plain, type Target } from '../target.js';

const data = trees(memberName);

/** A tree and what became of it: some of its members replaced, removed or added. */
const edits = fc.array(
  fc.tuple(
    fc.array(memberName, { minLength: 1, maxLength: 3 }),
    fc.option(fc.oneof(data, fc.constantFrom<Value>(null, 1, 'y', [2]))),
  ),
  { maxLength: 4 },
);
type Edits = readonly (readonly [path: readonly string[], value: Value | null])[];

function edited(root: Members, all: Edits): Members {
  const copy = structuredClone(root);
  for (const [path, value] of all) {
    let inner = copy;
    for (const name of path.slice(0, -1)) {
      const next = at(inner, [name]);
      if (isMembers(next)) inner = next;
      else inner = inner[name] = {};
    }
    const name = path.at(-1)!;
    if (value === null) delete inner[name];
    else inner[name] = structuredClone(value);
  }
  return copy;
}

const three = fc.oneof(
  fc.tuple(data, data, data),
  fc
    .tuple(data, edits, edits)
    .map(([base, mine, theirs]): [Members, Members, Members] => [
      base,
      edited(base, mine),
      edited(base, theirs),
    ]),
);

const same = (a: Value | undefined, b: Value | undefined) => canonical(a) === canonical(b);

/** Whether the change at this path is one of its own: of a leaf, or of an object that came or went as a whole. */
function isOwnChange(before: Value | undefined, after: Value | undefined): boolean {
  return !same(before, after) && !(isMembers(before) && isMembers(after));
}

/** Whether all that the path goes through are objects. */
function isWithin(root: Members, path: readonly string[]): boolean {
  return path.slice(0, -1).every((_, index) => isMembers(at(root, path.slice(0, index + 1))));
}

/** What must hold of a merge by the definition of a three-way merge, not by its steps. */
function judge(base: Members, mine: Members, theirs: Members, result: Members): void {
  const paths = [base, mine, theirs, result].flatMap((each) => pathsOf(each));
  for (const path of paths) {
    const [before, own, other, now] = [base, mine, theirs, result].map((each) => at(each, path));
    const place = path.join('/');
    if (isOwnChange(before, own) && !isMembers(own) && isWithin(mine, path))
      expect(canonical(now), `mine at ${place}`).to.equal(canonical(own));
    if (isOwnChange(before, other) && same(before, own) && isWithin(mine, path) && isWithin(theirs, path))
      expect(canonical(now), `theirs at ${place}`).to.equal(canonical(other));
    if (now !== undefined && !isMembers(now))
      expect([canonical(own), canonical(other)], `invented at ${place}`).to.include(canonical(now));
  }
}

const merge: Target = {
  name: 'saves-merge',
  property:
    'the merge of two changed copies of a session has every change of the one that saves and every change of the other that does not contradict it, and nothing else',
  inputs: { long: 300_000, quick: 500 },
  open: plain(
    fc.property(three, ([base, mine, theirs]) => {
      const result = rebase(base, mine, theirs) as Members;
      judge(base, mine, theirs, result);
      // Whoever saves again what is stored changes nothing, and nobody's copy is touched.
      expect(same(rebase(theirs, theirs, result) as Members, result)).to.equal(true);
      expect(same(rebase(base, mine, result) as Members, result)).to.equal(true);
    }),
  ),
};

const holders: Target = {
  name: 'saves-store',
  property:
    'of two to four requests that load one session and save it at once, every change that no other touches is stored, and all read the same afterwards',
  inputs: { long: 10_000, quick: 10 },
  async open() {
    const server = await startServer();
    const store = new SessmanStore({ base_url: `${server.url}/sessman`, touch_after: 0 });
    const get = async (sid: string) => (await promisify(store.get).call(store, sid)) as unknown as Members;
    const set = (sid: string, session: Members) =>
      promisify(store.set).call(store, sid, session as unknown as SessionData);
    let count = 0;
    const property = fc.asyncProperty(
      data,
      fc.array(edits, { minLength: 2, maxLength: 4 }),
      async (base, all) => {
        count += 1;
        const sid = `session ${count}`;
        await set(sid, { cookie: { originalMaxAge: null }, data: base });
        const held = await Promise.all(all.map(() => get(sid)));
        const copies = all.map((each) => edited(base, each));
        await Promise.all(
          held.map((session, index) => set(sid, Object.assign(session, { data: copies[index]! }))),
        );
        const [first, ...others] = await Promise.all(all.map(() => get(sid)));
        for (const other of others) expect(other).to.deep.equal(first);
        const stored = first!.data as Members;
        for (const path of copies.flatMap((copy) => pathsOf(copy)).concat(pathsOf(base))) {
          const before = at(base, path);
          const changed = copies.filter((copy) => !same(at(copy, path), before));
          if (!copies.every((copy) => isWithin(copy, path))) continue;
          if (changed.length === 0)
            expect(canonical(at(stored, path)), path.join('/')).to.equal(canonical(before));
          if (changed.length === 1)
            expect(canonical(at(stored, path)), path.join('/')).to.equal(canonical(at(changed[0], path)));
        }
      },
    );
    return {
      property,
      async close() {
        store.close();
        await server.close();
      },
    };
  },
};

export const savesTargets: readonly Target[] = [merge, holders];
