import { expect } from 'chai';
import fc from 'fast-check';
import { childrenOf, type Located } from '../../config/index.js';
import { check } from './broken-cases.js';
import { printed, read, sentences } from './memory.js';

function readJson(json: string) {
  const configuration = read({ 'plugin-server.ini': '[main]\na=json=a.json', 'a.json': json });
  return { located: configuration.locate(['main', 'a']), problems: sentences(configuration) };
}

const jsonText = fc
  .json({ maxDepth: 5 })
  .filter((text) => !text.includes('__proto__'))
  .chain((text) => fc.constantFrom(text, JSON.stringify(JSON.parse(text), null, 2)));

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the JSON reader', () => {
  it('gives what JSON.parse gives', () => {
    fc.assert(
      fc.property(jsonText, (text) => {
        const { located, problems } = readJson(text);
        expect(problems).to.deep.equal([]);
        expect(located?.value).to.deep.equal(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('takes no text that JSON.parse refuses, but for comments and trailing commas', () => {
    const damaged = fc
      .tuple(
        jsonText,
        fc.nat(),
        fc.constantFrom('', '"', '{', '}', ',', ':', '1', '\\', '\n', '\u0000', 'e', '-', '.'),
      )
      .map(([text, at, put]) => {
        const index = at % text.length;
        return text.slice(0, index) + put + text.slice(index + 1);
      });
    fc.assert(
      fc.property(damaged, (text) => {
        fc.pre(!text.includes('/') && !/,\s*[\]}]/.test(text) && !parses(text));
        expect(readJson(text).problems).not.to.deep.equal([]);
      }),
      { numRuns: 500 },
    );
  });

  it('knows the place of each value', () => {
    const check = (located: Located, value: unknown, lines: readonly string[]): void => {
      const { line, column } = located.position;
      const rest = [lines[line - 1]!.slice(column - 1), ...lines.slice(line)].join('\n');
      expect(JSON.parse(rest.slice(0, located.length))).to.deep.equal(value);
      for (const [key, child] of childrenOf(located)) {
        check(child, (value as Record<string, unknown>)[String(key)], lines);
      }
    };
    fc.assert(
      fc.property(jsonText, (text) => {
        const { located } = readJson(text);
        check(located!, JSON.parse(text), text.split('\n'));
      }),
    );
  });

  it('has its values checked, whatever they are', () => {
    const key = fc.constantFrom(
      'url',
      'ttl',
      'tags',
      'servers',
      'host',
      'port',
      'limits',
      'soft',
      'files',
      'store',
      'kind',
      'size',
      'weights',
      'x',
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, 0, -1, 1.5, 80, '', 'file', 'a', '80'),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, tree), (object) => {
        const json = JSON.stringify(object, null, 1);
        const configuration = read({
          'plugin-server.ini': '[plugin_parms]\nshop=json=s.json',
          's.json': json,
        });
        check(configuration);
        const lines = json.split('\n');
        for (const { position, source } of configuration.problems) {
          expect(source).to.equal(lines[position.line - 1]);
          expect(lines[position.line - 1]!.length).to.be.at.least(position.column);
        }
        expect(new Set(printed(configuration)).size).to.equal(configuration.problems.length);
      }),
      { numRuns: 500 },
    );
  });
});
