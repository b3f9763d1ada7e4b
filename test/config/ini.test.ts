import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { parse } from 'ini';
import { readIni } from '../../config/ini.js';
import { Source } from '../../config/source.js';
import { brokenCases, check } from './broken-cases.js';
import { printed, read } from './memory.js';

/** Text of any UTF-16 units, lone surrogates included, without line breaks and blanks at its ends. */
const anyText = fc
  .string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    maxLength: 30,
  })
  .map((text) => text.replace(/[\r\n]/g, '').trim());

const awkward = fc
  .array(
    fc.constantFrom(
      ...'#;=\\"\'[]{}$&:. \tabAB'.split(''),
      '__proto__',
      'true',
      'null',
      'json=',
      'int:',
      '${',
      'ENV:',
    ),
  )
  .map((parts) => parts.join('').trim());

const value = fc.oneof(anyText, awkward);
const allowed = value.filter((text) => text !== '' && text !== '__proto__');
const key = allowed.filter((text) => !/^[#;[]|=/.test(text));
const sectionName = allowed.filter((text) => !text.includes(']'));

/** A text of INI tokens in any order. */
const anyIni = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\n',
        '\r\n',
        '\r',
        '[main]',
        '[',
        ']',
        '=',
        '&',
        ' ',
        '\t',
        '#',
        ';',
        '${',
        '}',
        '$$',
        ':',
      ),
      fc.constantFrom(
        'a',
        'b',
        'main',
        'A',
        '${a}',
        '${main:b}',
        '${ENV:X}',
        ':-',
        'int:',
        'list:',
        'json=',
        'x.json',
        '1',
      ),
      fc.constantFrom(
        '[network]',
        '[plugin_parms]',
        'port',
        'hosts',
        'shop=',
        'ttl',
        'servers',
        'store',
        '&',
      ),
      fc.constantFrom('password', 'token=', 'http://u:p@h', '\uFEFF', '"', "'", '\\', '__proto__'),
      fc.string({ maxLength: 3 }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));

describe('the INI reader', () => {
  it('gives back what was written, whatever the value', () => {
    fc.assert(
      fc.property(value, (text) => {
        fc.pre(!/^(?:int:|float:|bool:|list:|json=)/.test(text));
        const configuration = read(`[s]\nk=${text.replaceAll('$', () => '$$')}`);
        expect(printed(configuration)).to.deep.equal([]);
        expect(configuration.section('s')?.value).to.deep.equal({ k: text });
      }),
      { numRuns: 500 },
    );
  });

  it('gives back what was written, whatever the key and the section', () => {
    fc.assert(
      fc.property(key, sectionName, (keyText, name) => {
        const configuration = read(`[${name}]\n${keyText} = x`);
        expect(printed(configuration)).to.deep.equal([]);
        expect(configuration.sectionNames).to.deep.equal([name]);
        expect(Object.entries(configuration.section(name)?.value as object)).to.deep.equal([[keyText, 'x']]);
      }),
      { numRuns: 500 },
    );
  });

  it('never throws, and points into the file', () => {
    fc.assert(
      fc.property(anyIni, fc.constantFrom('[1]', '{"a": 1}', '{"a" 1', ''), (ini, json) => {
        const files = { 'plugin-server.ini': ini, 'x.json': json };
        for (const parameterSections of [['plugin_parms'], ['main', 'network']]) {
          const configuration = read(files, { parameterSections });
          check(configuration);
          printed(configuration);
          for (const { position, message } of configuration.problems) {
            const text = position.file.endsWith('.ini') ? ini : json;
            const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
            expect(position.line, message).to.be.within(1, lines.length);
            expect(position.column, message).to.be.within(1, lines[position.line - 1]!.length + 1);
          }
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('knows the place of each value and key', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(key, value), { maxLength: 8 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        (pairs, eol) => {
          const text = ['[s]', ...pairs.map(([name, content]) => `\t${name} =  ${content} `)].join(eol);
          const source = new Source('x.ini', text);
          for (const entry of readIni(source, () => {})
            .get('s')!
            .entries.values()) {
            expect(text.slice(entry.keySpan.start, entry.keySpan.end)).to.equal(entry.key);
            expect(text.slice(entry.valueSpan.start, entry.valueSpan.end)).to.equal(entry.value);
            expect(source.offset(source.position(entry.valueSpan.start))).to.equal(entry.valueSpan.start);
          }
        },
      ),
    );
  });

  describe('agrees with its own scan of', () => {
    /** What the `ini` package gave is what the scan saw, key by key. */
    const agree = (text: string) => {
      const source = new Source('x.ini', text);
      for (const section of readIni(source, () => {}).values()) {
        for (const entry of section.entries.values()) {
          expect(entry.value).to.equal(source.text.slice(entry.valueSpan.start, entry.valueSpan.end));
        }
      }
    };

    it('every INI text of the tests for what is broken', () => {
      for (const { ini } of brokenCases) agree(ini.join('\n'));
    });

    for (const path of iniFiles('.')) it(path, () => agree(readFileSync(path, 'utf8')));

    it('any text', () => {
      fc.assert(fc.property(anyIni, agree), { numRuns: 500 });
    });
  });

  it('agrees with the `ini` package itself on text in which nothing is special', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}( [a-z0-9/:@%,]{1,5})?$/);
    const content = word.filter((text) => !/^(?:true|false|null)$|^(?:int|float|bool|list):/.test(text));
    const table = fc.dictionary(word, fc.dictionary(word, content, { noNullPrototype: true }), {
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(table, (sections) => {
        const lines = Object.entries(sections).flatMap(([name, entries]) => [
          `[${name}]`,
          ...Object.entries(entries).map(([k, v]) => `${k} = ${v}`),
        ]);
        const configuration = read(lines.join('\n'));
        const ours = configuration.sectionNames.map((name) => [name, configuration.section(name)?.value]);
        expect(Object.fromEntries(ours)).to.deep.equal(JSON.parse(JSON.stringify(parse(lines.join('\n')))));
      }),
    );
  });

  it('reads what is large and hostile in one go, within bounds', () => {
    const times = (count: number, line: (index: number) => string) =>
      Array.from({ length: count }, (_, i) => line(i)).join('\n');
    const hostile = {
      chain: times(10_000, (i) => `k${i}=\${k${i + 1}}`),
      missing: times(10_000, (i) => `k${i}=\${missing${i}}`),
      bare: times(10_000, (i) => `bare${i}`),
      open: times(10_000, (i) => `[open${i}`),
      dollars: `a=${'$'.repeat(500_000)}`,
      unclosed: `a=${'${'.repeat(500_000)}`,
      nested: `a=${'${ENV:A:-'.repeat(50_000)}${'}'.repeat(50_000)}`,
      secrets: `a=x?${'token=${b}&'.repeat(50_000)}`,
      texts: `a0=lol\n${times(60, (i) => `a${i + 1}=\${a${i}}\${a${i}}`)}`,
      lists: `a0=list:a b\n${times(60, (i) => `a${i + 1}=list:\${a${i}} \${a${i}}`)}`,
    };
    for (const [name, lines] of Object.entries(hostile)) {
      const configuration = read(`[main]\nb=1\n${lines}`);
      expect(configuration.section('main'), name).not.to.equal(undefined);
      expect(
        printed(configuration).every((text) => text.length < 2000),
        name,
      ).to.equal(true);
    }
  });
});

/** The project's own INI files. */
function iniFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules' || entry.name === 'dist' || entry.name.startsWith('.')) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return iniFiles(path);
    return entry.name.endsWith('.ini') ? [path] : [];
  });
}
