import { homedir } from 'node:os';
import { expect } from 'chai';
import { type Files, read, sentences } from './memory.js';

/** The values of [main], or of [plugin_parms], where nothing is wrong. */
function values(lines: readonly string[], files: Files = {}, env = {}, section = 'main'): unknown {
  const configuration = read({ 'plugin-server.ini': lines.join('\n'), ...files }, { env });
  expect(sentences(configuration)).to.deep.equal([]);
  return configuration.section(section)?.value;
}

describe('values of an INI file', () => {
  it('are taken to the end of the line, whatever they hold', () => {
    const plain = {
      hash: 'a#b;c # d ; e',
      equals: 'a=b==c',
      double: '"quoted"',
      single: "'quoted'",
      open: '"a',
      slash: 'C:\\new\\table\\',
      percent: '50%20+%(x)s',
      dollar: 'a$b$ $',
      brackets: '[a]',
      word: 'true',
      nothing: 'null',
      zero: '0042',
      separator: 'a\u2028b\u2029c',
      empty: '',
      like: 'integer:5',
    };
    expect(
      values(['[main]', ...Object.entries(plain).map(([key, value]) => `${key}=${value}`)]),
    ).to.deep.equal(plain);
  });

  it('keep no blanks around them, around keys and around section names', () => {
    expect(values(['[ main ]', ' \ta \t=\t  b c \t '])).to.deep.equal({ a: 'b c' });
  });

  it('may have any key', () => {
    const main = read(
      '[main]\nvalueOf=1\nconstructor=2\na[]=3\na.b=4\n"q"=5\na b=6\nhasOwnProperty=7',
    ).section('main');
    expect(Object.entries(main?.value as object)).to.deep.equal([
      ['valueOf', '1'],
      ['constructor', '2'],
      ['a[]', '3'],
      ['a.b', '4'],
      ['"q"', '5'],
      ['a b', '6'],
      ['hasOwnProperty', '7'],
    ]);
  });

  it('stand under sections of any name', () => {
    const configuration = read('[a.b]\nx=1\n[valueOf]\nx=2\n[constructor]\nx=3\n[a"b\\c;d#e]\nx=4');
    expect(configuration.sectionNames).to.deep.equal(['a.b', 'valueOf', 'constructor', 'a"b\\c;d#e']);
    expect(configuration.sectionNames.map((name) => configuration.section(name)?.value)).to.deep.equal([
      { x: '1' },
      { x: '2' },
      { x: '3' },
      { x: '4' },
    ]);
  });

  it('are found by names in any case, and listed as they are written', () => {
    const configuration = read('[Main]\nUserName=x');
    expect(configuration.section('MAIN')?.value).to.deep.equal({ UserName: 'x' });
    const fields = configuration.section('main')!.fields!;
    expect(fields.has('username')).to.equal(true);
    expect([...fields.keys()]).to.deep.equal(['UserName']);
  });

  it('stand below comments, which take whole lines', () => {
    expect(values(['# one', '; two', '  # three', '[main]', '#a=1', 'a=2', '\t;a=3'])).to.deep.equal({
      a: '2',
    });
  });

  it('come from the line that is right where another with its key is not', () => {
    for (const lines of ['a\na=1', 'a=1\na', 'a: 2\na=1']) {
      const configuration = read(`[main]\n${lines}`);
      expect(configuration.section('main')?.value, lines).to.deep.equal({ a: '1' });
      expect(sentences(configuration), lines).to.have.length(1);
    }
  });

  it('stand in lines of their own, not behind a header', () => {
    for (const header of ['[main]x', '[main] x', '[main]]', '[main] # x', '[main];'])
      expect(sentences(read(`${header}\na=1`)), header).to.have.length(1);
  });

  it('come from all parts of a section', () => {
    expect(values(['[main]', 'a=1', '[other]', 'x=1', '[MAIN]', 'b=2'])).to.deep.equal({ a: '1', b: '2' });
  });

  for (const [name, lineBreak] of Object.entries({ LF: '\n', CRLF: '\r\n', CR: '\r' })) {
    it(`are told apart by ${name}, behind a byte order mark too`, () => {
      const configuration = read(`\uFEFF[main]${lineBreak}${lineBreak}a=1${lineBreak}b=2`);
      expect(configuration.section('main')?.value).to.deep.equal({ a: '1', b: '2' });
      expect(configuration.locate(['main', 'b'])?.position).to.include({ line: 4, column: 3 });
    });
  }

  it('are none in an empty file', () => {
    const configuration = read('');
    expect(configuration.sectionNames).to.deep.equal([]);
    expect(configuration.problems).to.deep.equal([]);
  });
});

describe('types', () => {
  it('come from prefixes', () => {
    const lines = [
      'a=int:6123',
      'b=int:-5',
      'c=int:0',
      'd=float:0.5',
      'e=float:-1e-3',
      'f=float:3',
      'g=list:',
      'h=Int:5',
    ];
    expect(values(['[main]', ...lines])).to.deep.equal({
      a: 6123,
      b: -5,
      c: 0,
      d: 0.5,
      e: -0.001,
      f: 3,
      g: [],
      h: 'Int:5',
    });
  });

  it('of numbers know signs in exponents, and no negative zero', () => {
    expect(values(['[main]', 'a=float:1e+3', 'b=float:2E3', 'c=int:-0', 'd=float:-0.0'])).to.deep.equal({
      a: 1000,
      b: 2000,
      c: 0,
      d: 0,
    });
  });

  it('of bool: are many words, in any case', () => {
    const yes = ['true', 'enabled', 'enable', 'on', 'yes', '1', 'TRUE', 'Yes'];
    const no = ['false', 'disabled', 'disable', 'off', 'no', '0', 'False', 'OFF'];
    expect(values(['[main]', `yes=list:${yes.map((word) => `bool:${word}`).join(' ')}`])).to.deep.equal({
      yes: yes.map(() => true),
    });
    expect(values(['[main]', `no=list:${no.map((word) => `bool:${word}`).join(' ')}`])).to.deep.equal({
      no: no.map(() => false),
    });
  });

  it('of the items of a list are their own', () => {
    expect(values(['[main]', 'n=2', 'a=list:x  int:1\tfloat:0.5 bool:on int:${n} "q r"'])).to.deep.equal({
      n: '2',
      a: ['x', 1, 0.5, true, 2, '"q', 'r"'],
    });
  });

  it('never come from what a reference stands for', () => {
    expect(values(['[main]', 'a=${ENV:A}', 'b=${ENV:A}x'], {}, { A: 'int:5' })).to.deep.equal({
      a: 'int:5',
      b: 'int:5x',
    });
  });
});

describe('references', () => {
  it('stand for values of the same and of other sections, in any case', () => {
    expect(
      values(['[other]', 'Host=h', '[main]', 'port=1', 'url=http://${OTHER:host}:${PORT}/${ other : Host }']),
    ).to.deep.equal({ port: '1', url: 'http://h:1/h' });
  });

  it('keep the type where they are the whole value', () => {
    const lines = [
      '[base]',
      'i=int:5',
      'f=float:0.5',
      'b=bool:no',
      'l=list:a int:2',
      'o=json=o.json',
      '[main]',
    ];
    const wholes = ['i', 'f', 'b', 'l', 'o'].map((key) => `${key}=\${base:${key}}`);
    expect(
      values([...lines, ...wholes, 's=${base:i}-${base:b}'], { 'o.json': '{"x": [null]}' }),
    ).to.deep.equal({
      i: 5,
      f: 0.5,
      b: false,
      l: ['a', 2],
      o: { x: [null] },
      s: '5-false',
    });
  });

  it('may be converted, and lead on', () => {
    expect(values(['[main]', 'a=${b}', 'b=int:${c}', 'c=${ENV:PORT}0'], {}, { PORT: '80' })).to.deep.equal({
      a: 800,
      b: 800,
      c: '800',
    });
  });

  it('to the environment take names as they are, and a default when unset or empty', () => {
    const lines = [
      'a=${ENV:A}',
      'b=${ENV:a:-low}',
      'c=${env:EMPTY:-none}',
      'd=${ENV:EMPTY}',
      'e=${ENV:NO:-}',
      'f=${ENV:NO:-${ENV:A}:-}x}',
    ];
    expect(values(['[main]', ...lines], {}, { A: 'up', EMPTY: '' })).to.deep.equal({
      a: 'up',
      b: 'low',
      c: 'none',
      d: '',
      e: '',
      f: 'up:-x}',
    });
  });

  it('are plain text behind $$', () => {
    expect(values(['[main]', 'a=$${b}', 'b=$$', 'c=$$$${x}$', 'd=${ENV:X:-$${y}}'])).to.deep.equal({
      a: '${b}',
      b: '$',
      c: '$${x}$',
      d: '${y}',
    });
  });

  it('count a brace behind $$ in a default as text', () => {
    expect(values(['[main]', 'a=${ENV:X:-$${}', 'b=${ENV:X:-$${}}'])).to.deep.equal({ a: '${', b: '${}' });
  });

  it('to the environment find only what is set there', () => {
    for (const name of ['constructor', 'toString', '__proto__'])
      expect(values(['[main]', `a=\${ENV:${name}:-unset}`])).to.deep.equal({ a: 'unset' });
  });

  const limits: [what: string, most: number, make: (count: number) => [lines: string[], files?: Files]][] = [
    [
      'a chain of 100',
      100,
      (count) => [[...Array.from({ length: count }, (_, n) => `k${n}=\${k${n + 1}}`), `k${count}=x`]],
    ],
    ['defaults 21 deep', 21, (count) => [[`a=${'${ENV:A:-'.repeat(count)}x${'}'.repeat(count)}`]]],
    [
      'a text of 1048576 characters',
      1_048_576,
      (count) => [[`a=${'x'.repeat(1000)}`, `b=${'x'.repeat(count - 1000)}\${a}`]],
    ],
    [
      'a list of 10000 items',
      10_000,
      (count) => [['a=json=a.json', 'b=list:x ${a}'], { 'a.json': `[${'1,'.repeat(count - 2)}1]` }],
    ],
  ];
  for (const [what, most, make] of limits) {
    it(`make ${what}, and nothing beyond`, () => {
      const problems = (count: number) => {
        const [lines, files] = make(count);
        return sentences(read({ 'plugin-server.ini': ['[main]', ...lines].join('\n'), ...files }));
      };
      expect(problems(most)).to.deep.equal([]);
      expect(problems(most + 1)).not.to.deep.equal([]);
    });
  }

  it('join lists', () => {
    expect(values(['[main]', 'a=list:1 2', 'b=list:${a} 3 ${a}', 'c=list:${a}'])).to.deep.equal({
      a: ['1', '2'],
      b: ['1', '2', '3', '1', '2'],
      c: ['1', '2'],
    });
  });

  it('that are all of a list are split at blanks; as an item among others they are one', () => {
    const env = { HOSTS: ' a  b ' };
    expect(values(['[main]', 'a=list:${ENV:HOSTS}', 'b=list:${ENV:HOSTS} c'], {}, env)).to.deep.equal({
      a: ['a', 'b'],
      b: [' a  b ', 'c'],
    });
  });
});

describe('JSON files', () => {
  it('become values in any section, with comments and trailing commas', () => {
    const json = '\uFEFF// sessions\n{\n  "a": [1, 2,], /* two */\n  "b": {"c": null,},\n}\n';
    expect(
      values(['[main]', 'x=json=x.json', 'n=five', 'y=json=${n}.json'], { 'x.json': json, 'five.json': '5' }),
    ).to.deep.equal({
      x: { a: [1, 2], b: { c: null } },
      n: 'five',
      y: 5,
    });
  });

  it('hold no references', () => {
    expect(values(['[main]', 'x=json=x.json'], { 'x.json': '{"password": "${a}$$"}' })).to.deep.equal({
      x: { password: '${a}$$' },
    });
  });

  it('are looked for beside the INI file, then in the folders given', () => {
    const files = { 'b.json': '1', 'extra/b.json': '2', 'extra/c.json': '3' };
    expect(
      values(
        ['[paths]', 'plugins=${main:folder}', '[main]', 'folder=extra', 'b=json=b.json', 'c=json=c.json'],
        files,
      ),
    ).to.deep.equal({
      folder: 'extra',
      b: 1,
      c: 3,
    });
  });

  it('are in `texts` with the INI file, by absolute path', () => {
    const configuration = read({
      'plugin-server.ini': '[main]\na=json=a.json\nb=json=a.json',
      'a.json': '1',
    });
    expect([...configuration.texts]).to.deep.equal([
      ['/etc/plugin-server/plugin-server.ini', '[main]\na=json=a.json\nb=json=a.json'],
      ['/etc/plugin-server/a.json', '1'],
    ]);
  });
});

describe('parameters', () => {
  const parameters = (lines: readonly string[], files: Files = {}, env = {}) =>
    values(lines, files, env, 'plugin_parms');

  it('are values by the same rules, split at "&"', () => {
    expect(parameters(['[plugin_parms]', 'a=x=1&y = int:2 & z=list:a b&w=a=b?c', 'b='])).to.deep.equal({
      a: { x: '1', y: 2, z: ['a', 'b'], w: 'a=b?c' },
      b: {},
    });
  });

  it('are split before references are followed', () => {
    const lines = ['[main]', 'password=a&b=c', '[plugin_parms]', 'a=x=${main:password}&y=${ENV:Y:-1&2}&z=3'];
    expect(parameters(lines)).to.deep.equal({ a: { x: 'a&b=c', y: '1&2', z: '3' } });
  });

  it('come from JSON files, alone and beside others', () => {
    const lines = [
      '[plugin_parms]',
      'a=json=a.json',
      'b=x=1&json=a.json',
      'c=json=a.json&x=int:2',
      'd=o=json=a.json',
    ];
    const object = { username: 'u', Deep: { x: 1 } };
    expect(parameters(lines, { 'a.json': JSON.stringify(object) })).to.deep.equal({
      a: object,
      b: { x: '1', ...object },
      c: { ...object, x: 2 },
      d: { o: object },
    });
  });

  it('come from an object elsewhere', () => {
    const lines = ['[main]', 'shared=json=a.json', '[plugin_parms]', 'a=${main:shared}&y=1'];
    expect(parameters(lines, { 'a.json': '{"x": true}' })).to.deep.equal({ a: { x: true, y: '1' } });
  });
});

describe('paths', () => {
  it('are relative to the INI file, and know the home directory', () => {
    const configuration = read('');
    expect(configuration.folder).to.equal('/etc/plugin-server');
    expect(
      ['data', '../x', '/abs', '~', '~/x', '~x'].map((path) => configuration.resolvePath(path)),
    ).to.deep.equal([
      '/etc/plugin-server/data',
      '/etc/x',
      '/abs',
      homedir(),
      `${homedir()}/x`,
      '/etc/plugin-server/~x',
    ]);
  });
});
