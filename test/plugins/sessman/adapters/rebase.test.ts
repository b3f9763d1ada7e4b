import { expect } from 'chai';
import fc from 'fast-check';
import { type Json, rebase } from '../../../../plugins/sessman/adapters/rebase.js';

describe('rebase', () => {
  const cases: [string, base: Json, mine: Json, theirs: Json, result: Json][] = [
    ['keeps what either has added', {}, { a: 1 }, { b: 2 }, { a: 1, b: 2 }],
    ['keeps what either has changed', { a: 1, b: 1 }, { a: 2, b: 1 }, { a: 1, b: 2 }, { a: 2, b: 2 }],
    ['removes what either has removed', { a: 1, b: 1, c: 1 }, { b: 1, c: 1 }, { a: 1, c: 1 }, { c: 1 }],
    ['lets mine win where both have changed', { a: 1 }, { a: 2 }, { a: 3 }, { a: 2 }],
    ['keeps what mine has changed and theirs removed', { a: 1 }, { a: 2 }, {}, { a: 2 }],
    ['removes what mine has removed and theirs changed', { a: 1 }, {}, { a: 2 }, {}],
    ['goes into objects', { o: { a: 1 } }, { o: { a: 1, b: 1 } }, { o: { a: 2 } }, { o: { a: 2, b: 1 } }],
    ['joins objects that both have added', {}, { o: { a: 1 } }, { o: { b: 1 } }, { o: { a: 1, b: 1 } }],
    ['takes arrays as a whole', { l: [1] }, { l: [1, 2] }, { l: [1, 3] }, { l: [1, 2] }],
    [
      'takes an array that only theirs has changed',
      { l: [{ a: 1 }] },
      { l: [{ a: 1 }] },
      { l: [] },
      { l: [] },
    ],
    ['tells null from what is not there', { a: null }, { a: null, b: null }, { a: 1 }, { a: 1, b: null }],
    ['tells a number from its text', { a: 1 }, { a: '1' }, { a: 1 }, { a: '1' }],
    ['replaces an object by a value', { o: { a: 1 } }, { o: 1 }, { o: { a: 2 } }, { o: 1 }],
    ['does not mind the order of keys', { a: 1, b: 2 }, { b: 2, a: 1 }, { a: 3, b: 2 }, { a: 3, b: 2 }],
  ];
  for (const [what, base, mine, theirs, result] of cases) {
    it(what, () => expect(rebase(base, mine, theirs)).to.deep.equal(result));
  }

  it('takes keys that objects have of themselves as any other', () => {
    const mine = JSON.parse('{"__proto__":{"a":1},"constructor":1}');
    const result = rebase({}, mine, { toString: 1 });
    expect(JSON.stringify(result)).to.equal('{"toString":1,"__proto__":{"a":1},"constructor":1}');
    expect(({} as { a?: number }).a).to.equal(undefined);
  });

  const key = fc.constantFrom('a', 'b', 'c', 'd');
  const data = fc.letrec<{ value: Json; object: Record<string, Json> }>((tie) => ({
    object: fc.dictionary(key, tie('value')),
    value: fc.oneof({ maxDepth: 3 }, fc.constantFrom<Json>(null, 0, 1, 'x', [], [1]), tie('object')),
  })).object;

  it('is what one has when only one has changed anything, and twice the same as once', () => {
    fc.assert(
      fc.property(data, data, data, (base, mine, theirs) => {
        expect(rebase(base, mine, base)).to.deep.equal(mine);
        expect(rebase(base, base, theirs)).to.deep.equal(theirs);
        expect(rebase(base, mine, mine)).to.deep.equal(mine);
        const once = rebase(base, mine, theirs);
        expect(rebase(base, mine, once)).to.deep.equal(once);
      }),
    );
  });
});
