import { expect } from 'chai';
import fc from 'fast-check';
import { findInexact, isExactNumber } from '../../config/index.js';

const find = (text: string) => findInexact(text, JSON.parse(text));

const numbers: readonly (readonly [text: string, exact: boolean])[] = [
  ['0', true],
  ['-0', true],
  ['0e400', true],
  ['0.000e-999999', true],
  ['1', true],
  ['0.1', true],
  ['0.30000000000000004', true],
  ['3.14159265358979323846264338327950288', true],
  ['9007199254740991', true],
  ['9007199254740992', true],
  ['9007199254740993', false],
  ['-9007199254740993', false],
  ['9007199254740994', true],
  ['9007199254740993.0', false],
  ['9007199254740992.000', true],
  ['9007199254740992.5', false],
  ['9.007199254740993e15', false],
  ['9.007199254740992E+15', true],
  ['900719925474099300e-2', false],
  ['1234567890123456789', false],
  ['1234567890123456800', true],
  ['123456789012345678901234567890', false],
  ['18446744073709551615', false],
  ['100000000000000000000000', true],
  ['1e23', true],
  ['1.0e22', true],
  ['1.7976931348623157e308', true],
  ['1e400', false],
  ['-1.0e400', false],
  ['1e-400', false],
  ['-0.1e-400', false],
  ['1E-400', false],
  ['0.1E-400', false],
  ['5e-324', true],
  [`0.${'0'.repeat(400)}1`, false],
  [`1${'0'.repeat(400)}`, false],
  [`1${'0'.repeat(400)}e-400`, true],
];

describe('JSON that parsing would change', () => {
  for (const [text, exact] of numbers) {
    const shown = text.length > 50 ? `${text.slice(0, 50)}…` : text;
    it(`${exact ? 'keeps' : 'names'} the number ${shown}`, () => {
      expect(isExactNumber(text)).to.equal(exact);
      for (const document of [text, `[${text}]`, `{"a": ${text} }`, `{"a":{"b":[1,${text},{"c":0}]}}`]) {
        expect(find(document)?.kind, document).to.equal(exact ? undefined : 'number');
      }
      expect(find(JSON.stringify({ text, quoted: `"${text}":` }))).to.equal(undefined);
    });
  }

  const places: readonly (readonly [text: string, kind: string, at: string, path: string])[] = [
    ['1e999', 'number', '1:1 5', ''],
    ['{"id": 9007199254740993}', 'number', '1:8 16', 'id'],
    ['{"data":\n {"items":[0,1,2,{"id":\n1e400}]}}', 'number', '3:1 5', 'data.items[3].id'],
    ['[[1,2],[3,[4,1e-400]]]', 'number', '1:14 6', '[1][1][1]'],
    ['{"a b":{"\\n":1e400}}', 'number', '1:14 5', '["a b"]["\\n"]'],
    ['{"a":1,"a":2}', 'duplicate', '1:8 3', 'a'],
    ['{"a":1,"\\u0061":2}', 'duplicate', '1:8 8', 'a'],
    ['{"\\u0061":1,"a":2}', 'duplicate', '1:13 3', 'a'],
    ['{"data":{"a":1,"b":{"c":[{"d":1},{"d":1,"d":1}]}}}', 'duplicate', '1:41 3', 'data.b.c[1].d'],
    ['{"":1,"":2}', 'duplicate', '1:7 2', '[""]'],
    ['{"__proto__":1,"__proto__":2}', 'duplicate', '1:16 11', '__proto__'],
    ['{"constructor":1,\r\n"constructor" :2}', 'duplicate', '2:1 13', 'constructor'],
    ['{"a" :1,"b"\t:1,"a"\n:2}', 'duplicate', '1:16 3', 'a'],
    ['{"a":":","a":"\\":"}', 'duplicate', '1:10 3', 'a'],
    ['{"a\\\\":1,"b":2,"a\\\\":3}', 'duplicate', '1:16 5', '["a\\\\"]'],
    ['{"é":1,"\\u00e9":1e400}', 'duplicate', '1:8 8', 'é'],
    ['{"a":{"x":1},"a":{"x":2}}', 'duplicate', '1:14 3', 'a'],
    ['[{"a":1},{"a":1},{"a":1,"a":1}]', 'duplicate', '1:25 3', '[2].a'],
  ];
  for (const [text, kind, at, path] of places) {
    it(`tells the place of ${JSON.stringify(text)}`, () => {
      const found = find(text)!;
      expect([found.kind, `${found.line}:${found.column} ${found.length}`, found.path]).to.deep.equal([
        kind,
        at,
        path,
      ]);
      expect(text.slice(found.offset).length).to.be.greaterThan(0);
    });
  }

  it('tells a long path without its middle, and a long name without its end', () => {
    const nested = (depth: number) => `${'{"a":'.repeat(depth)}1e400${'}'.repeat(depth)}`;
    expect(find(nested(12))?.path).to.equal(Array(12).fill('a').join('.'));
    expect(find(nested(13))?.path).to.equal('a.a.a.a.a.a….a.a.a.a.a');
    expect(find(`${'['.repeat(20)}1e400${']'.repeat(20)}`)?.path).to.equal(
      `${'[0]'.repeat(6)}…${'[0]'.repeat(5)}`,
    );
    expect(find(`{"${'n'.repeat(60)}":1e400}`)?.path).to.equal('n'.repeat(60));
    expect(find(`{"${'n'.repeat(61)}":1e400}`)?.path).to.equal(`${'n'.repeat(59)}…`);
  });

  it('finds what is far down, or behind anything that is like a name', () => {
    for (const depth of [199, 200, 201, 250]) {
      const text = (inner: string) => `${'['.repeat(depth)}${inner}${']'.repeat(depth)}`;
      expect(find(text('1e400'))?.kind).to.equal('number');
      expect(find(text('{"a":1,"a":1}'))?.kind).to.equal('duplicate');
      expect(find(text('{"a":1,"b":1}'))).to.equal(undefined);
    }
    for (const blank of [' ', '\n', '\r', '\t', ' \r\n\t'])
      expect(find(`{"a"${blank}:1,"a"${blank}:1}`)?.kind).to.equal('duplicate');
    expect(find('{"x":"\\":","a":1,"a":2}')?.kind).to.equal('duplicate');
    expect(find('{"x":"\\\\","a":-9007199254740993}')?.kind).to.equal('number');
    expect(find(String.raw`[-1e400,"\\\"",1]`)?.column).to.equal(2);
    expect(isExactNumber('-900719925474099200e-2')).to.equal(true);
    expect(isExactNumber('0.00900719925474099300e18')).to.equal(false);
    expect(isExactNumber('0.00900719925474099200e18')).to.equal(true);
  });

  it('finds nothing where a name comes again in another object or in text', () => {
    for (const text of [
      '{"a":{"a":{"a":[{"a":1},{"a":1}]}}}',
      '["a","a",":a",":a"]',
      '{"a":"\\"a\\":1","b":":","c":"12:30:00"}',
      '{"a":"a","b":"a"}',
      '{"a":[],"b":{},"c":[{}]}',
      '{"x":"1e400 12345678901234567890"}',
      '{"":""}',
      '""',
    ]) {
      expect(find(text), text).to.equal(undefined);
    }
  });

  it('finds nothing in what JSON.stringify wrote', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(0, 1, '\t'), (value, indent) => {
        expect(find(JSON.stringify(value, null, indent))).to.equal(undefined);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds a member given twice wherever it is put', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string(), fc.jsonValue({ maxDepth: 3 })), { minLength: 1, maxLength: 6 }),
        fc.nat(),
        fc.jsonValue({ maxDepth: 2 }),
        (members, pick, other) => {
          const unique = [...new Map(members)].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`);
          const again = [...new Map(members).keys()][pick % unique.length]!;
          const text = `[${JSON.stringify(other)},{${[...unique, `${JSON.stringify(again)} : 0`].join(',')}}]`;
          const found = find(text)!;
          expect(found.kind).to.equal('duplicate');
          expect(JSON.parse(text.slice(found.offset, found.offset + found.length))).to.equal(again);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('reads what nests deeper than a stack goes', () => {
    const deep = `${'[{"a":'.repeat(50_000)}[1e400]${'}]'.repeat(50_000)}`;
    expect(findInexact(deep, undefined)?.kind).to.equal('number');
    expect(find(deep)?.kind).to.equal('number');
  });
});
