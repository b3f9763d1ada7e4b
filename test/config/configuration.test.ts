import { homedir } from 'node:os';
import { expect } from 'chai';
import { z } from 'zod';
import { formatProblem, list, text } from '../../config/index.js';
import { printed, read, sentences } from './memory.js';

describe('a configuration', () => {
  it('names the sections that nothing has read and no reference uses', () => {
    const configuration = read('[main]\na=1\n[b]\nc=${main:a}\n[d]\ne=1\n[plugin_parms]\n');
    expect(configuration.unusedSections).to.deep.equal(['b', 'd']);
    configuration.read('B', z.object({}));
    expect(configuration.unusedSections).to.deep.equal(['d']);
    configuration.readSound('d', z.object({}));
    expect(configuration.unusedSections).to.deep.equal([]);
  });

  it('tells warnings apart from problems', () => {
    const configuration = read('[a]\nb=1\nc=2\nc=3');
    const place = configuration.locate(['a', 'b'])!;
    configuration.warn(place, 'is odd', 'change it');
    configuration.warn(place, 'is odd', 'change it');
    configuration.warn(place, 'is old');
    expect(sentences(configuration)).to.have.length(1);
    expect(configuration.warnings.map((warning) => formatProblem(warning).split('\n')[0])).to.deep.equal([
      'plugin-server.ini:2:3: warning: is odd; change it',
      'plugin-server.ini:2:3: warning: is old',
    ]);
    for (const problem of configuration.problems) expect(problem).not.to.have.property('severity');
    expect(configuration.warnings[1]).not.to.have.property('hint');
  });

  it('lists problems by file, the INI file first, and by line and column', () => {
    const files = {
      'plugin-server.ini': '[a]\nb=json=b.json\nc=json=a.json\nd=int:x\ne=${no}${nor}',
      'a.json': '{"x":1,\n"x":2,"x":3}',
      'b.json': '[1e999]',
    };
    const configuration = read(files);
    configuration.report({ file: '/etc/z', line: 1, column: 1 }, 'elsewhere');
    configuration.report({ file: '/etc/y', line: 1, column: 1 }, 'elsewhere');
    configuration.report({ file: '/etc/z', line: 1, column: 1 }, 'elsewhere');
    expect(
      configuration.problems.map(
        ({ position }) => `${position.file.split('/').at(-1)}:${position.line}:${position.column}`,
      ),
    ).to.deep.equal([
      'plugin-server.ini:4:7',
      'plugin-server.ini:5:3',
      'b.json:1:2',
      'a.json:2:1',
      'a.json:2:7',
      'y:1:1',
      'z:1:1',
    ]);
  });

  it('gives the sound part of a section, and says what is wrong with the rest', () => {
    const schema = z.object({ a: text().default('x'), b: list().default([]), c: z.int().default(3) });
    const configuration = read('[s]\na=y\nc=no');
    const { value, wrong } = configuration.readSound('s', schema);
    expect(value).to.deep.equal({ a: 'y', b: [], c: 3 });
    expect([...wrong]).to.deep.equal(['c']);
    expect(sentences(configuration)).to.have.length(1);
  });

  it('says where a problem would be that shows only later', () => {
    const configuration = read('[s]\npassword=abc\na=b');
    const place = configuration.placeOf(configuration.locate(['s', 'password'])!);
    expect(place).to.deep.equal({
      position: { file: configuration.file, line: 2, column: 10 },
      source: 'password=***',
      caret: 9,
      length: 3,
    });
  });

  it('resolves paths from its folder, and ~ to the home directory only where it stands for one', () => {
    const configuration = read('');
    expect(configuration.resolvePath('a/b')).to.equal('/etc/plugin-server/a/b');
    expect(configuration.resolvePath('/a')).to.equal('/a');
    expect(configuration.resolvePath('~')).to.equal(homedir());
    expect(configuration.resolvePath('~/a')).to.equal(`${homedir()}/a`);
    expect(configuration.resolvePath('a~/b')).to.equal('/etc/plugin-server/a~/b');
    expect(configuration.resolvePath('a/~')).to.equal('/etc/plugin-server/a/~');
    expect(configuration.resolvePath('~a')).to.equal('/etc/plugin-server/~a');
  });

  it('replaces the references in strings of JSON, each with its value as data', () => {
    const json = (value: string, env: Record<string, string> = {}) => {
      const files = { 'plugin-server.ini': '[m]\na=json=a.json', 'a.json': JSON.stringify({ v: value }) };
      const configuration = read({ ...files, 'f.txt': 'of the file\n' }, { env });
      return sentences(configuration)[0] ?? (configuration.locate(['m', 'a', 'v'])?.value as string);
    };
    const env = { A: 'x', EMPTY: '', B: '${ENV:A}', DOLLAR: "$&$1$'" };
    for (const [written, value] of [
      ['${ENV:A}', 'x'],
      ['a${ENV:A}b${ENV: A }c', 'axbxc'],
      ['${env:A}${File: f.txt }', 'xof the file'],
      ['${ENV:A:-d}', 'x'],
      ['${ENV:NO:-d}', 'd'],
      ['${ENV:EMPTY:-d}', 'd'],
      ['${ENV:EMPTY}', ''],
      ['[${ENV:NO:-}]', '[]'],
      ['${ENV:B} ${ENV:DOLLAR}', "${ENV:A} $&$1$'"],
      ['$${ENV:A} $$ ${main:a} $', '${ENV:A} $$ ${main:a} $'],
    ] as const)
      expect(json(written, env), written).to.equal(value);
    expect(json('${ENV:NO}')).to.contain('the environment variable "NO" is not set');
    expect(json('${ENV:toString}')).to.contain('is not set');
    expect(json('${FILE:no}')).to.contain('the file "no" does not exist');
  });

  it('reads a JSON file once, and looks for it beside itself and then in the folders', () => {
    let reads = 0;
    const files: Record<string, string> = { 'plugins/a.json': '{"x":[1e999]}', 'b.json': '{"b":1}' };
    const configuration = read('[m]\na=json=a.json\nb=json=a.json\nc=json=b.json');
    expect(sentences(configuration)[0]).to.contain('looked for a.json and plugins/a.json');
    const found = read({
      ...files,
      'plugin-server.ini': '[m]\na=json=a.json\nb=json=a.json\nc=json=b.json\nd=json=~/x\ne=json=/x.json',
      get 'plugins/a.json'() {
        reads += 1;
        return files['plugins/a.json']!;
      },
    });
    expect(reads).to.equal(1);
    expect(found.locate(['m', 'c', 'b'])?.value).to.equal(1);
    expect(sentences(found)).to.deep.equal([
      'plugin-server.ini:5:8: the file "~/x" does not exist; looked for ~/x',
      'plugin-server.ini:6:8: the file "/x.json" does not exist; looked for /x.json',
      'plugins/a.json:1:7: this number cannot be represented exactly; write it as text in double quotes, or use a number that a double holds',
    ]);
  });

  it('gives the nearest value around a path that ends early', () => {
    const configuration = read({ 'plugin-server.ini': '[m]\na=json=a.json', 'a.json': '{"x":{"y":[5]}}' });
    expect(configuration.locate(['m', 'a', 'x', 'y', 0])?.value).to.equal(5);
    expect(configuration.locate(['m', 'a', 'x', 'z', 'w'])?.value).to.deep.equal({ y: [5] });
    expect(configuration.locate(['no'])).to.equal(undefined);
    expect(configuration.locate([])).to.equal(undefined);
  });

  it('quotes no line for what is not written anywhere', () => {
    const configuration = read('[a]\nb=1');
    configuration.read('x', z.object({ y: z.int() }));
    expect(printed(configuration)).to.deep.equal([
      'plugin-server.ini:1:1: "y" in [x] is missing; write [x] and below it y=int:1',
    ]);
  });

  it('takes a string of JSON for a secret if a secret variable or a file is in it', () => {
    const secret = (value: string) => {
      const files = {
        'plugin-server.ini': '[m]\na=json=a.json',
        'a.json': JSON.stringify([value]),
        'f.txt': 'x',
      };
      return read(files, { env: { DB_PASSWORD: 'x', A: 'y' } }).locate(['m', 'a', 0])?.secret;
    };
    for (const value of [
      '${ENV:DB_PASSWORD}',
      '${FILE:f.txt}',
      '${FILE:f.txt}${ENV:A}',
      '${ENV:A}${ENV:DB_PASSWORD}',
    ])
      expect(secret(value), value).to.equal(true);
    for (const value of ['${ENV:A}', 'x', '$${ENV:DB_PASSWORD}'])
      expect(secret(value), value).to.equal(false);
  });

  it('compares names by their lower case alone', () => {
    const configuration = read('[ß]\na=1\n[SS]\na=2\n[ss]\nb=3');
    expect(printed(configuration)).to.deep.equal([]);
    expect(configuration.sectionNames).to.deep.equal(['ß', 'SS']);
    expect(configuration.section('Ss')?.value).to.deep.equal({ a: '2', b: '3' });
  });

  it('reads decimal numbers of every form', () => {
    const configuration = read('[n]\na=float:1e10\nb=float:-12.75\nc=float:2.5E-3\nd=float:10\ne=float:0');
    expect(configuration.section('n')?.value).to.deep.equal({ a: 1e10, b: -12.75, c: 0.0025, d: 10, e: 0 });
    for (const text of ['1x', '01', '1.', '.5', '1e', '1ex', '1.5.5', '1e5x', '10x0'])
      expect(printed(read(`[n]\na=float:${text}`)), text).to.have.length(1);
  });

  it('colours a problem for a terminal', () => {
    const [problem] = read('[n]\na=int:x').problems;
    expect(formatProblem(problem!, { color: true, cwd: '/etc/plugin-server' }).split('\n')).to.deep.equal([
      '\u001B[1mplugin-server.ini:2:7:\u001B[0m \u001B[1;31mthe value after int: is not an integer\u001B[0m; write up to 15 digits and nothing else, such as int:6123',
      '  \u001B[34m|\u001B[0m',
      '\u001B[34m2 |\u001B[0m a=int:x',
      '  \u001B[34m|\u001B[0m       \u001B[1;31m^\u001B[0m',
    ]);
  });
});
