import { expect } from 'chai';
import fc from 'fast-check';
import { check } from '../../config/broken-cases.js';
import { printed, read } from '../../config/memory.js';
import { plain, type Target } from '../target.js';

/** A value as it is written, and as it is read. */
interface Written {
  readonly text: string;
  readonly value: unknown;
}

interface Entry {
  readonly section: string;
  readonly key: string;
  readonly written: Written;
}

/** How one line is laid out. */
interface Layout {
  readonly indent: string;
  readonly before: string;
  readonly after: string;
  /** A line above it. */
  readonly above: string;
}

const plainName = fc.constantFrom('main', 'network', 'a', 'b', 'x y', 'p.q', 'under_score', 'Caps', '7');
const oddName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .map((text) => text.replace(/[\r\n=\]]/g, '').trim())
  .filter((text) => text !== '' && !/^[#;[]/.test(text));
const name = fc
  .oneof(
    { weight: 5, arbitrary: plainName },
    { weight: 1, arbitrary: oddName },
    {
      weight: 1,
      arbitrary: fc.constantFrom('constructor', 'toString', 'Straße', 'İ', '\u212A', 'ſ', '$', "'q'"),
    },
  )
  .filter((text) => text !== '__proto__');

const blank = fc.constantFrom('', '', ' ', '  ', '\t', ' \t ');
const text = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc
      .array(
        fc.constantFrom(
          '#',
          ';',
          '=',
          '\\',
          '"',
          "'",
          '[',
          ']',
          '$',
          '{',
          '}',
          '&',
          ' ',
          'a',
          'é',
          '\u2028',
          'json',
        ),
      )
      .map((parts) => parts.join('')),
  )
  .map((any) => any.replace(/[\r\n]/g, '').trim())
  .filter((any) => !/^(?:int:|float:|bool:|list:|json=)/.test(any));
const word = text
  .map((any) => any.replace(/\s/g, ''))
  .filter((any) => any !== '' && !/^(?:int:|float:|bool:|list:|json=)/.test(any));

const escaped = (any: string): string => any.replaceAll('$', () => '$$');
const asText = (any: fc.Arbitrary<string>): fc.Arbitrary<Written> =>
  any.map((value) => ({ text: escaped(value), value }));
const inAnyCase = (words: readonly string[]): fc.Arbitrary<string> =>
  fc.tuple(fc.constantFrom(...words), fc.boolean()).map(([any, upper]) => (upper ? any.toUpperCase() : any));
const scalar: fc.Arbitrary<Written> = fc.oneof(
  fc.maxSafeInteger().map((value) => ({ text: `int:${value}`, value })),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .map((value) => ({ text: `float:${value}`, value: value + 0 })),
  inAnyCase(['true', 'enabled', 'enable', 'on', 'yes', '1']).map((any) => ({
    text: `bool:${any}`,
    value: true,
  })),
  inAnyCase(['false', 'disabled', 'disable', 'off', 'no', '0']).map((any) => ({
    text: `bool:${any}`,
    value: false,
  })),
);
const list: fc.Arbitrary<Written> = fc
  .array(fc.tuple(fc.oneof(scalar, asText(word)), fc.constantFrom(' ', '  ', '\t')), { maxLength: 5 })
  .map((items) => ({
    text: `list:${items.map(([item, gap]) => item.text + gap).join('')}`.trim(),
    value: items.map(([item]) => item.value),
  }));
const value = fc.oneof({ weight: 3, arbitrary: asText(text) }, { weight: 2, arbitrary: scalar }, list);

const layout: fc.Arbitrary<Layout> = fc.record({
  indent: blank,
  before: blank,
  after: blank,
  above: fc.oneof(
    { weight: 4, arbitrary: fc.constant('') },
    fc
      .tuple(fc.constantFrom('', '#', ';', ' # '), text)
      .map(([mark, any]) => (mark === '' ? '' : mark + any)),
  ),
});

/** An entry; a part of them repeats an earlier one, alone or in a longer text. */
const entry = fc.record({
  section: name,
  key: name,
  written: value,
  refersTo: fc.option(fc.nat(), { freq: 4 }),
  around: fc.tuple(word, fc.constantFrom('', ' ')),
  layout,
});

const document = fc
  .record({
    entries: fc.array(entry, { maxLength: 12 }),
    eol: fc.constantFrom('\n', '\r\n', '\r'),
    mark: fc.constantFrom('', '\uFEFF'),
    grouped: fc.boolean(),
  })
  .map(({ entries, eol, mark, grouped }) => {
    const taken = new Set<string>();
    const known: Entry[] = [];
    const lines: string[] = [];
    let open: string | undefined;
    for (const { section, key, written, refersTo, around, layout } of entries) {
      const place = JSON.stringify([section.toLowerCase(), key.toLowerCase()]);
      if (taken.has(place)) continue;
      taken.add(place);
      const targets = known.filter((each) => isNameable(each) && each.written.value !== '');
      const target = refersTo === null ? undefined : targets[refersTo % Math.max(targets.length, 1)];
      const made = { section, key, written: target ? reference(target, section, around) : written };
      known.push(made);
      if (layout.above !== '') lines.push(layout.above);
      if (!grouped || open?.toLowerCase() !== section.toLowerCase())
        lines.push(`${layout.indent}[${layout.before}${section}${layout.after}]`);
      open = section;
      lines.push(
        `${layout.indent}${key}${layout.before}=${layout.after}${made.written.text}${layout.before}`,
      );
    }
    return { ini: mark + lines.join(eol), known };
  });

function isNameable({ section, key }: Entry): boolean {
  return [section, key].every((any) => /^[\w. ]+$/.test(any)) && !/^(?:env|file)$/i.test(section);
}

/** A reference to the entry: the whole value, or within a text where that is possible. */
function reference(
  { section, key, written }: Entry,
  from: string,
  [beside, gap]: readonly [string, string],
): Written {
  const isNear = section.toLowerCase() === from.toLowerCase();
  const text = isNear ? `\${${key}}` : `\${${section.toUpperCase()}: ${key} }`;
  if (gap === '' || typeof written.value === 'object') return { text, value: written.value };
  return { text: escaped(beside) + gap + text, value: `${beside}${gap}${written.value}` };
}

const structure: Target = {
  name: 'ini-structure',
  property:
    'sections, typed values, lists, references and comments, printed in any layout, are read as they were meant, without a problem',
  inputs: { long: 200_000, quick: 300 },
  open: plain(
    fc.property(document, ({ ini, known }) => {
      const configuration = read(ini);
      expect(printed(configuration)).to.deep.equal([]);
      const sections = new Map<string, Map<string, unknown>>();
      for (const { section, key, written } of known) {
        const keys = sections.get(section.toLowerCase()) ?? new Map();
        sections.set(section.toLowerCase(), keys.set(key, written.value));
      }
      expect(configuration.sectionNames.map((each) => each.toLowerCase())).to.deep.equal([
        ...sections.keys(),
      ]);
      for (const [section, keys] of sections) {
        const found = Object.entries(configuration.section(section)?.value as object);
        // An object lists names that look like indexes first.
        expect(new Map(found)).to.deep.equal(keys);
      }
    }),
  ),
};

const secret = fc.stringMatching(/^[QXZ]{4}[0-9]{6}[QXZ]{4}$/);
const secretKey = fc.constantFrom(
  'password',
  'api_key',
  'apikey',
  'db_passwd',
  'Auth-Token',
  'clientSecret',
  'pwd',
);
const token = fc.constantFrom(
  ...[
    '[',
    ']',
    '=',
    '&',
    '$',
    '${',
    '}',
    '$$',
    ':',
    '#',
    ';',
    ' ',
    '\t',
    '"',
    '\\',
    '\uFEFF',
    '\0',
    '\u2028',
    '__proto__',
  ],
  ...[
    'int:',
    'float:',
    'bool:',
    'list:',
    'json=',
    '${main:password}',
    '${apikey}',
    '${ENV:A:-',
    '${FILE:x}',
    'int:${password}',
  ],
  ...[
    '[main]',
    '[plugin_parms]',
    'a=1',
    'port',
    'shop=a=1&password=',
    'ttl=int:x',
    'url=http://u:p@h',
    'json=x.json',
    'list:int:${password}',
  ],
);
/** Of a line: where, as a part of the whole, and what is put there in place of how many characters. */
const damage = fc.tuple(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(4), token);
const damaged = fc
  .record({
    document,
    secrets: fc.array(fc.tuple(fc.nat(), secretKey, secret), { minLength: 1, maxLength: 3 }),
    damages: fc.array(damage, { maxLength: 8 }),
    parameters: fc.boolean(),
  })
  .map(({ document: { ini }, secrets, damages, parameters }) => {
    const lines = ['[main]', ...ini.split(/\r\n|[\r\n]/)].map((line) => ({ line, isSecret: false }));
    for (const [at, key, word] of secrets)
      lines.splice(1 + (at % lines.length), 0, { line: `${key}=${word}`, isSecret: true });
    const open = lines.filter(({ isSecret }) => !isSecret);
    for (const [which, at, length, put] of damages) {
      const chosen = open[which % open.length]!;
      const index = Math.floor(at * chosen.line.length);
      chosen.line = chosen.line.slice(0, index) + put + chosen.line.slice(index + length);
    }
    return {
      ini: lines.map(({ line }) => line).join('\n'),
      secrets: secrets.map(([, , word]) => word),
      parameters,
    };
  });

const damagedTarget: Target = {
  name: 'ini-damaged',
  property:
    'a damaged INI file is read without an exception; each problem is told once, points into the file, and quotes no secret',
  inputs: { long: 200_000, quick: 300 },
  open: plain(
    fc.property(damaged, ({ ini, secrets, parameters }) => {
      const configuration = read(
        { 'plugin-server.ini': ini, 'x.json': '{"a":1}' },
        { parameterSections: parameters ? ['main', 'a', 'plugin_parms'] : [] },
      );
      check(configuration);
      const told = printed(configuration);
      const lines = ini.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
      for (const { position, message } of configuration.problems) {
        if (position.file.endsWith('.json')) continue;
        expect(position.line, message).to.be.within(1, lines.length);
        expect(position.column, message).to.be.within(1, lines[position.line - 1]!.length + 1);
      }
      expect(new Set(told).size).to.equal(told.length);
      for (const word of secrets) expect(told.join('\n')).not.to.contain(word);
    }),
  ),
};

export const iniTargets: readonly Target[] = [structure, damagedTarget];
