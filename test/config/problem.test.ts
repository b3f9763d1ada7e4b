import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError, formatProblem, nearest, type Problem, readConfiguration } from '../../config/index.js';
import { printed, read } from './memory.js';

const problem: Problem = {
  position: { file: '/srv/app/plugin-server.ini', line: 12, column: 1 },
  message: 'unknown key "prot" in [network]',
  hint: 'did you mean "port"?',
  source: 'prot=int:6123',
  caret: 0,
  length: 4,
};

describe('formatProblem', () => {
  it('prints the place, the problem and what to do, then the line with a caret', () => {
    expect(formatProblem(problem, { cwd: '/srv/app' })).to.equal(
      [
        'plugin-server.ini:12:1: unknown key "prot" in [network]; did you mean "port"?',
        '   |',
        '12 | prot=int:6123',
        '   | ^^^^',
      ].join('\n'),
    );
  });

  it('prints one line where there is none to quote, or no hint', () => {
    const { source: _, hint: __, ...bare } = problem;
    expect(formatProblem(bare, { cwd: '/srv/app' })).to.equal(
      'plugin-server.ini:12:1: unknown key "prot" in [network]',
    );
  });

  it('shows paths relative to the working directory, others by their name alone', () => {
    const shown = (cwd: string) => formatProblem(problem, { cwd }).split(':')[0];
    expect(shown('/srv')).to.equal('app/plugin-server.ini');
    expect(shown('/srv/other')).to.equal('plugin-server.ini');
    expect(shown('/')).to.equal('srv/app/plugin-server.ini');
  });

  it('points below tabs, wide and combining characters', () => {
    const line = (text: string, caret: number, length: number) =>
      formatProblem({ ...problem, source: text, caret, length })
        .split('\n')
        .slice(2);
    expect(line('\ta=b', 3, 1)).to.deep.equal(['12 |   a=b', '   |     ^']);
    expect(line('名前=x', 3, 1)).to.deep.equal(['12 | 名前=x', '   |      ^']);
    expect(line('e\u0301=😀=x', 5, 1)).to.deep.equal(['12 | e\u0301=😀=x', '   |     ^']);
  });

  it('lets no control character or trick of writing direction through', () => {
    const text = formatProblem({
      ...problem,
      message: 'a\u001B[31mb\nc',
      source: 'x\u202Ey\u0007z',
      hint: '\u009B',
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text).not.to.match(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202E]/);
    expect(text.split('\n')).to.have.length(4);
  });

  it('shows the part of a long line that matters', () => {
    const source = `${'a'.repeat(1000)}HERE${'b'.repeat(1000)}`;
    const [, , line, caret] = formatProblem({ ...problem, source, caret: 1000, length: 4 }).split('\n');
    expect(line).to.match(/^12 \| …a{60}HEREb+…$/);
    expect(line!.indexOf('HERE')).to.equal(caret!.indexOf('^^^^'));
    expect(line!.length).to.be.below(160);
  });

  it('colours for a terminal', () => {
    const colored = formatProblem(problem, { cwd: '/srv/app', color: true });
    expect(colored).to.contain('\u001B[');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of colours
    expect(colored.replace(/\u001B\[[0-9;]*m/g, '')).to.equal(formatProblem(problem, { cwd: '/srv/app' }));
  });
});

describe('ConfigError', () => {
  it('holds the problems, and prints them all', () => {
    const { problems } = read('[a]\nb\nc=${d}');
    const error = new ConfigError(problems);
    expect(error.problems).to.equal(problems);
    expect(error.code).to.equal('configuration_invalid');
    expect(error.message)
      .to.contain('plugin-server.ini:2:1: "=" is missing')
      .and.to.contain(':3:3: key "d" does not exist');
  });
});

describe('nearest', () => {
  it('finds what was probably meant', () => {
    const keys = ['bindto', 'port', 'workers', 'stop_grace', 'stop_timeout', 'origin_url'];
    const meant = {
      prot: 'port',
      PORT: 'port',
      worker: 'workers',
      stopgrace: 'stop_grace',
      origin: 'origin_url',
      bind: 'bindto',
    };
    for (const [name, expected] of Object.entries(meant))
      expect(nearest(name, keys), name).to.equal(expected);
  });

  it('finds nothing where nothing is near, or two are as near', () => {
    const keys = ['bindto', 'port', 'stop_grace', 'stop_timeout'];
    for (const name of ['colour', 'x', '', 'stop', 'zzzz'])
      expect(nearest(name, keys), name).to.equal(undefined);
  });
});

describe('files on the disk', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const problems = (bytes: string | Uint8Array, name = 'plugin-server.ini') => {
    if (bytes.length > 0) writeFileSync(join(folder, name), bytes);
    const configuration = readConfiguration(join(folder, 'plugin-server.ini'));
    return configuration.problems.map((found) => formatProblem(found, { cwd: folder }));
  };

  it('are read', () => {
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'sub', 'a.json'), '{"ä": "ö"}');
    expect(problems('[main]\na=json=sub/a.json')).to.deep.equal([]);
    expect(readConfiguration(join(folder, 'plugin-server.ini')).section('main')?.value).to.deep.equal({
      a: { ä: 'ö' },
    });
  });

  it('may be missing', () => {
    expect(problems('')).to.deep.equal(['plugin-server.ini:1:1: the file does not exist']);
  });

  it('may be folders', () => {
    mkdirSync(join(folder, 'plugin-server.ini'));
    expect(problems('')).to.deep.equal(['plugin-server.ini:1:1: the file is a folder']);
  });

  it('may be in another encoding, which is told with its place', () => {
    const latin1 = Buffer.concat([Buffer.from('[main]\na=ü\nb='), Buffer.from([0xfc])]);
    expect(problems(latin1)).to.deep.equal([
      'plugin-server.ini:3:3: the file is not UTF-8 text from here on; save it as UTF-8',
    ]);
    const utf16 = Buffer.from('\uFEFF[main]', 'utf16le');
    expect(problems(utf16)).to.deep.equal([
      'plugin-server.ini:1:1: the file is not UTF-8 text from here on; save it as UTF-8',
    ]);
  });

  it('may hold U+FFFD before what is not UTF-8', () => {
    for (const before of ['a=\uFFFD', 'a=\uFFFDx\uFFFD\uFFFDy', 'a=\uFFFD\uFFFDü'])
      expect(problems(Buffer.concat([Buffer.from(before), Buffer.from([0xff])]))[0], before).to.match(
        new RegExp(`^plugin-server\\.ini:1:${before.length + 1}: the file is not UTF-8`),
      );
  });

  it('may be JSON in another encoding', () => {
    writeFileSync(join(folder, 'plugin-server.ini'), '[main]\na=json=a.json');
    expect(problems(new Uint8Array([0x22, 0xe9, 0x22]), 'a.json')).to.deep.equal([
      'a.json:1:2: the file is not UTF-8 text from here on; save it as UTF-8',
    ]);
  });

  describe('have a bad byte told at its place, U+FFFD written before it or not:', () => {
    const bad = 'the file is not UTF-8 text from here on; save it as UTF-8';
    const bytes = (...parts: readonly (string | number)[]) =>
      Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))));
    for (const [name, text, place] of [
      ['directly behind it', bytes('[main]\na=\uFFFD', 0xff), '2:4'],
      ['behind two of them', bytes('[main]\na=\uFFFD\uFFFD', 0x80), '2:5'],
      ['a line below', bytes('[main]\na=\uFFFD\nb=x', 0xc3), '3:4'],
      ['with another behind it', bytes('[main]\na=', 0xe2, 0x82, '\uFFFD'), '2:3'],
      ['an overlong form', bytes('[main]\na=\uFFFD', 0xc0, 0xaf), '2:4'],
      ['a surrogate', bytes('[main]\na=\uFFFDx', 0xed, 0xa0, 0x80), '2:5'],
      ['a cut form of U+FFFD itself', bytes('[main]\na=\uFFFD', 0xef, 0xbf), '2:4'],
      ['behind a byte order mark', bytes('\uFEFF[main]\na=\uFFFD', 0xfe), '2:4'],
      ['behind characters of two units', bytes('[main]\na=😀\uFFFD', 0xff), '2:6'],
    ] as const) {
      it(`${name}, in an INI file`, () => {
        expect(problems(text)).to.deep.equal([`plugin-server.ini:${place}: ${bad}`]);
      });
    }

    for (const [name, text, place] of [
      ['in a string', bytes('{"a": "\uFFFD', 0xff, '"}'), '1:9'],
      ['in a key', bytes('{"\uFFFD', 0xf8, '": 1}'), '1:4'],
      ['in a comment', bytes('// \uFFFD\n// ', 0x80, '\n{}'), '2:4'],
      ['after the value', bytes('["\uFFFD"]', 0xff), '1:6'],
      ['behind a byte order mark', bytes('\uFEFF"\uFFFD', 0xc0, '"'), '1:3'],
    ] as const) {
      it(`${name}, in a JSON file`, () => {
        writeFileSync(join(folder, 'plugin-server.ini'), '[main]\na=json=a.json');
        expect(problems(text, 'a.json')).to.deep.equal([`a.json:${place}: ${bad}`]);
      });
    }

    it('is not told where U+FFFD alone was written', () => {
      expect(problems(bytes('[main]\na=\uFFFD\uFFFD'))).to.deep.equal([]);
    });
  });

  it('have their problems printed without the path of the folder', () => {
    expect(printed(read('[a]\nb=json=../../x.json')).join()).not.to.contain('/etc/plugin-server');
  });
});
