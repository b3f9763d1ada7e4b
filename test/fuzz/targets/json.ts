import { expect } from 'chai';
import fc from 'fast-check';
import { read } from '../../config/memory.js';
import { startServer } from '../../support/server.js';
import { Client } from '../support/client.js';
import { plain, type Target } from '../target.js';

/** A JSON value in all the ways that its text can be written. */
type Tree =
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Spaced[] }
  | { readonly kind: 'object'; readonly members: readonly (Spaced & { readonly name: string })[] };

interface Spaced {
  readonly value: Tree;
  readonly before: string;
  readonly after: string;
}

/** What `JSON.parse` would lose without a word, by its place in the text. */
export interface Loss {
  readonly kind: 'number' | 'duplicate' | 'proto';
  readonly offset: number;
}

const digits = (max: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${max}}$`));
const number = fc.oneof(
  fc
    .record({
      sign: fc.constantFrom('', '-'),
      whole: fc.oneof(
        fc.constant('0'),
        digits(20).map((text) => text.replace(/^0+(?=.)/, '')),
      ),
      fraction: fc.option(digits(20)),
      exponent: fc.option(
        fc.tuple(fc.constantFrom('e', 'E'), fc.constantFrom('', '+', '-'), fc.oneof(digits(2), digits(3))),
        { freq: 2 },
      ),
    })
    .map(
      ({ sign, whole, fraction, exponent }) =>
        `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent?.join('') ?? ''}`,
    ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc.constantFrom(
    '9007199254740993',
    '9007199254740992.0',
    '-0',
    '1e400',
    '1e-400',
    '0e999',
    '5e-324',
    '123e-2',
  ),
);

/** A string's text, each of its characters as itself or escaped in one of the ways there are. */
const character = fc.tuple(
  fc.oneof(
    fc.constantFrom(
      'a',
      'b',
      '"',
      '\\',
      '/',
      ':',
      ',',
      '{',
      '}',
      '[',
      ']',
      ' ',
      '\n',
      '\t',
      '\b',
      '\f',
      '\r',
      '\0',
      '\u2028',
      'é',
      '\ud800',
      '0',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
  fc.nat(3),
);
const short: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '/': '\\/',
  '\n': '\\n',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
  '\r': '\\r',
};
function spelled(text: string, way: number): string {
  const asUnits = text.replace(/./gs, (unit) => {
    const hex = unit.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${way === 2 ? hex.toUpperCase() : hex}`;
  });
  if (way >= 2) return asUnits;
  if (way === 1 && short[text] !== undefined) return short[text];
  // Half of a pair cannot be sent as UTF-8.
  return /^["\\]|\p{Cc}|\p{Surrogate}/u.test(text) ? (short[text] ?? asUnits) : text;
}
const string = fc
  .array(character, { maxLength: 8 })
  .map((characters) => `"${characters.map(([text, way]) => spelled(text, way)).join('')}"`);
const memberName = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      '"a"',
      '"b"',
      '"c"',
      '"\\u0061"',
      '"data"',
      '""',
      '"a:"',
      '"constructor"',
      '"é"',
      '"\\u00e9"',
    ),
  },
  { weight: 6, arbitrary: string },
  { weight: 1, arbitrary: fc.constantFrom('"__proto__"', '"\\u005f_proto__"') },
);
const blank = fc.constantFrom('', '', '', ' ', '\n', '\r\n', '\t', '  ');

const { tree } = fc.letrec<{ tree: Tree; list: Tree; object: Tree }>((tie) => {
  const spaced = { value: tie('tree'), before: blank, after: blank };
  return {
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.constantFrom('null', 'true', 'false').map((text): Tree => ({ kind: 'word', text })),
      number.map((text): Tree => ({ kind: 'number', text })),
      string.map((text): Tree => ({ kind: 'string', text })),
      tie('list'),
      tie('object'),
    ),
    list: fc.array(fc.record(spaced), { maxLength: 4 }).map((items): Tree => ({ kind: 'list', items })),
    object: fc
      .array(fc.record({ ...spaced, name: memberName }), { maxLength: 5 })
      .map((members): Tree => ({ kind: 'object', members })),
  };
});
const root = fc
  .record({
    members: fc.array(fc.record({ name: memberName, value: tree, before: blank, after: blank }), {
      maxLength: 5,
    }),
  })
  .map(({ members }): Tree => ({ kind: 'object', members }));

/** The text of a tree, its value, and where that loses something. */
export class Printed {
  text = '';
  readonly losses: Loss[] = [];

  /** @param lenient comments and trailing commas, which files may have, in turn */
  constructor(
    tree: Tree,
    private readonly lenient = false,
  ) {
    this.#write(tree);
  }

  #gap(text: string): void {
    this.text += text;
    if (this.lenient && text === '\n') this.text += '// "a": {\n';
    if (this.lenient && text === '  ') this.text += '/* , */';
  }

  #write(tree: Tree): void {
    if (tree.kind === 'list') this.#writeAll('[', tree.items, ']', () => {});
    else if (tree.kind === 'object') {
      const names = new Set<string>();
      this.#writeAll('{', tree.members, '}', ({ name }) => {
        const plain = JSON.parse(name) as string;
        if (plain === '__proto__') this.losses.push({ kind: 'proto', offset: this.text.length });
        else if (names.has(plain)) this.losses.push({ kind: 'duplicate', offset: this.text.length });
        names.add(plain);
        this.text += `${name}:`;
      });
    } else {
      if (tree.kind === 'number' && !isExact(tree.text))
        this.losses.push({ kind: 'number', offset: this.text.length });
      this.text += tree.text;
    }
  }

  #writeAll<Item extends Spaced>(
    open: string,
    items: readonly Item[],
    close: string,
    begin: (item: Item) => void,
  ): void {
    this.text += open;
    items.forEach((item, index) => {
      if (index > 0) this.text += ',';
      this.#gap(item.before);
      begin(item);
      this.#gap(item.after);
      this.#write(item.value);
    });
    if (this.lenient && items.length % 2 === 1) this.text += ',';
    this.text += close;
  }

  place(offset: number): { line: number; column: number } {
    const lines = this.text.slice(0, offset).split(/\r\n|\r|\n/);
    return { line: lines.length, column: lines.at(-1)!.length + 1 };
  }
}

/** With whole numbers alone: from 2^53 on, the number is the one that the double prints as; only zero becomes zero. */
function isExact(text: string): boolean {
  const double = Number(text);
  if (!Number.isFinite(double)) return false;
  const [mantissa, scale] = scaled(text);
  if (double === 0) return mantissa === 0n;
  if (Math.abs(double) < 2 ** 53) return true;
  const [other, otherScale] = scaled(String(double));
  return (
    mantissa * 10n ** BigInt(Math.max(scale - otherScale, 0)) ===
    other * 10n ** BigInt(Math.max(otherScale - scale, 0))
  );
}

/** The number as a whole number and the power of ten that it is multiplied with. */
function scaled(text: string): [bigint, number] {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  return [
    BigInt(whole.replace('-', '') + fraction) * (whole.startsWith('-') ? -1n : 1n),
    Number(exponent) - fraction.length,
  ];
}

const file: Target = {
  name: 'json-file',
  property:
    'a JSON file, with comments and trailing commas, has the value that JSON.parse gives; what that would lose is told with its line and column',
  inputs: { long: 100_000, quick: 200 },
  open: plain(
    fc.property(root, fc.boolean(), (tree, lenient) => {
      const printed = new Printed(tree, lenient);
      const configuration = read({ 'plugin-server.ini': '[main]\na=json=a.json', 'a.json': printed.text });
      const places = configuration.problems.map(({ position: { line, column } }) => `${line}:${column}`);
      const [first] = printed.losses;
      if (first === undefined) {
        expect(places).to.deep.equal([]);
        const { text } = new Printed(tree);
        expect(JSON.stringify(configuration.locate(['main', 'a'])?.value)).to.equal(
          JSON.stringify(JSON.parse(text)),
        );
      } else {
        const all = printed.losses
          .map(({ offset }) => printed.place(offset))
          .map(({ line, column }) => `${line}:${column}`);
        // What is inside a refused member is not told as well.
        expect(places[0]).to.equal(all[0]);
        expect(all).to.include.members(places);
      }
    }),
  ),
};

/** What is done to a text. */
const damage = fc.tuple(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.nat(2),
  fc.constantFrom(
    '',
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '0',
    '1',
    '-',
    '.',
    'e',
    '\\',
    '\n',
    '\0',
    'u',
    ' ',
    '\u00a0',
    '\ufeff',
    'null',
    '//',
    '//\n',
    '"__proto__":1',
    'NaN',
    "'",
  ),
);

const body: Target = {
  name: 'json-body',
  property:
    'a JSON body is answered with the value that JSON.parse gives, or 400 with the line and column of what that would lose; what is not JSON is 400',
  inputs: { long: 100_000, quick: 200 },
  async open() {
    const server = await startServer({ files: { 'plugins/echo.js': echo } });
    const client = new Client(server.url);
    const property = fc.asyncProperty(
      root,
      fc.array(damage, { maxLength: 2 }),
      fc.boolean(),
      async (tree, damages, chunked) => {
        const printed = new Printed(tree);
        let { text } = printed;
        for (const [at, length, put] of damages) {
          const index = Math.floor(at * text.length);
          text = text.slice(0, index) + put + text.slice(index + length);
        }
        const bytes = Buffer.from(text);
        const { status, body } = await client.post('/echo', bytes, { chunked });
        const parsed = parse(bytes.toString());
        if (parsed === undefined) {
          expect(status, text).to.equal(400);
        } else if (text === printed.text) {
          const [first] = printed.losses;
          if (first === undefined) {
            expect(status, body).to.equal(200);
            expect(JSON.stringify(JSON.parse(body))).to.equal(JSON.stringify(parsed.value));
          } else {
            expect(status, text).to.equal(400);
            const { line, column } = printed.place(first.offset);
            // JSON with `__proto__` is refused before, without a place.
            if (printed.losses.every(({ kind }) => kind !== 'proto'))
              expect(JSON.parse(body).error).to.contain(`(line ${line}, column ${column})`);
          }
        } else if (status === 200) {
          expect(JSON.stringify(JSON.parse(body))).to.equal(JSON.stringify(parsed.value));
        } else expect(status, text).to.equal(400);
      },
    );
    return {
      property,
      async close() {
        client.close();
        await server.close();
      },
    };
  },
};

/** The value of a text that is JSON, whose root is an object or a list. No body stands for an empty object. */
function parse(text: string): { value: unknown } | undefined {
  if (text === '' || text === '\ufeff') return { value: {} };
  try {
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''));
    return typeof value === 'object' && value !== null ? { value } : undefined;
  } catch {
    return undefined;
  }
}

const echo = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.post('/', (ctx) => { ctx.body = ctx.request.body; });
  },
});
`;

export const jsonTargets: readonly Target[] = [file, body];
