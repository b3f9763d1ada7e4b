/**
 * Mutants that no test can catch, because nobody can see the difference. `line` is text of the line that is changed, `becomes`
 * what stands there instead; without it, every change of that line is meant.
 */
export const equivalent = [
  ...inFile('config/exact-json.ts', 'a wrong count only makes the scan run, which finds what there is', [
    ['return countNames(text) === countMembers', ['false']],
    ['function countNames(', ['{}']],
    ["for (let at = text.indexOf(':')", ['""']],
    ['if (code === quote) count += 1;', ['true', 'count -= 1']],
    ["return text.includes('e-')", ['true', '""']],
    ["const zeros = '0'", ['""']],
    ['function countMembers(', ['{}']],
    ['return value < 2 ** 53', ['false', '+(2 ** 53)']],
    ['if (depth > deepest)', ['true', 'depth >= deepest']],
    ['if (Array.isArray(value)) {', ['true']],
    ['count += countMembers(value[index]', ['count -= countMembers(value[index], isZeroSuspect, depth + 1)']],
    ['  } else {', ['{}']],
    [
      'count += 1 + countMembers(',
      [
        'count -= 1 + countMembers((value as Record<string, unknown>)[name], isZeroSuspect, depth + 1)',
        '1 - countMembers((value as Record<string, unknown>)[name], isZeroSuspect, depth + 1)',
      ],
    ],
  ]),
  ...inFile(
    'config/exact-json.ts',
    'an object without members counts as none, and what is not there as nothing',
    [
      ["if (typeof value !== 'object' || value === null) return 0;", ['false']],
      ['for (let index = 0; index < value.length', ['index <= value.length']],
      ['for (let at = 0; at < text.length', ['at <= text.length']],
    ],
  ),
  ...inFile('config/exact-json.ts', 'the text is valid JSON, so the other case does not occur', [
    ["const [digits = ''] = number.exec(text)"],
    ["const [, sign = '', whole = ''"],
    ['/^(-?)(\\d+)(?:\\.(\\d+))?'],
    ["const steps = frames.map(({ isList, index, name = '' })", ['"Stryker was here!"']],
    ["for (let at = text.indexOf('\"', start + 1)", ['+1']],
  ]),
  ...inFile('config/exact-json.ts', 'it comes to the same', [
    ['if ((at - first) % 2 === 0)', ['at + first']],
    ["return literal.includes('\\\\')", ['""']],
  ]),
  ...inFile(
    'config/ini.ts',
    'the ini package gives what the scan has seen, which tests of their own compare',
    [
      ['for (const section of sections.values()) {', ['{}']],
      ['for (const [key, entry] of section.entries) {', ['{}']],
      ['if (!entry.refused)', ['false', 'true']],
      ['const lines: string[] = [];'],
    ],
  ),
  ...inFile(
    'config/ini.ts',
    'a line that begins with "[" has no "]" before it, and a mark has at least one character',
    [
      ['const isClosed = close >= text.start;', ['close > text.start']],
      ['end: equals + 1,', ['equals - 1']],
    ],
  ),
  ...inFile('config/json.ts', 'jsonc-parser gives these members whenever it reports no error', [
    ['const items = (node.children ?? [])', ['["Stryker was here"]']],
    ['for (const property of node.children ?? [])', ['["Stryker was here"]']],
    ['const [keyNode, valueNode] = property.children ?? [];', ['["Stryker was here"]']],
    ['if (!keyNode || !valueNode) continue;', ['false', '!keyNode && !valueNode']],
    ['expand: Expand = (text)'],
  ]),
  ...inFile(
    'config/configuration.ts',
    'a text without references stays as it is, and no section has that name',
    [
      ["if (!text.includes('${')) return", ['false']],
      ['parameterSections = [], jsonFolders }', ['["Stryker was here"]']],
    ],
  ),
  ...inFile('config/interpolate.ts', 'the empty pieces between blanks are left out', [
    ['splitParts(parts, /', ['/\\s/g']],
    ['item.value.split(/', ['/\\s/']],
  ]),
  ...inFile('config/secrets.ts', 'a span without a character hides nothing', [
    ['written[index]!.start < secret.end', ['written[index]!.start <= secret.end']],
  ]),
  ...inFile('plugins/sessman/http/answer.ts', 'the cache of texts only saves time', [
    ['if (dateTexts.size === maxDateTexts)'],
  ]),
  ...inFile('plugins/sessman/http/read-parameters.ts', 'the slower way comes to the same', [
    ["if (querystring.includes('%'))", ['true']],
    ['if (querystring.length < longQuery &&', ['false', 'querystring.length <= longQuery']],
  ]),
  ...inFile('plugins/sessman/http/access.ts', 'the user is then read where it need not be', [
    ["const isOfUser = call.byCookie === 'user'", ['true']],
  ]),
  ...inFile('plugins/sessman/http/calls.ts', 'whatever is not one of the other two means the session', [
    ["byCookie: 'session',", ['""']],
  ]),
  ...inFile(
    'plugins/sessman/stores/encrypted-store.ts',
    'to raise a store again, or to copy more, does nothing',
    [
      ['isRaised = true;', ['false']],
      ['() => {', ['{}']],
      ['if (!isRaised) await raise();', ['true']],
      ['if ((about ?? ip ?? userAgent) === undefined)', ['false']],
      ["let data = '';", ['"Stryker was here!"']],
    ],
  ),
  ...inFile('plugins/sessman/stores/fenced.ts', 'the change sets it', [['let isLatest = true;', ['false']]]),
  ...inFile('plugins/sessman/stores/keyring.ts', 'a key of a record is the same when it is derived again', [
    ['if (key !== undefined) return key;', ['false']],
    ['if (this.#latest.size === mostKept)'],
    ['this.#latest.set(handle, key);'],
  ]),
  ...inFile('plugins/sessman/stores/keyring.ts', 'it comes to the same', [
    ["cipher.update(text, 'utf8')", ['""']],
    ['const sealed = length <= scratch.length', ['false', 'length < scratch.length']],
    ['} catch {', ['{}']],
    ['if (used === pool.length)', ['true']],
  ]),
  ...['backup', 'restore', 'compact', 'scrub-command'].flatMap((name) =>
    inFile(
      `plugins/sessman/stores/embedded/${name}.ts`,
      'the system then reads ahead less, which only takes longer',
      [['{ readsAll: true }', ['false', '{}']]],
    ),
  ),
  ...inFile('plugins/sessman/stores/embedded/scrub-command.ts', 'no record has that handle', [
    ['const handles: string[] = [];', ['["Stryker was here"]']],
  ]),
  ...inFile('plugins/sessman/stores/embedded/scrub.ts', 'whatever is not the one index is the other', [
    ["fix, index: 'byExpiry'", ['""']],
    ["{ index: 'byExpiry', entry", ['""']],
  ]),
  ...inFile('plugins/sessman/stores/mongodb/index.ts', 'a revision only has to be another one than before', [
    ['revision: (found?.revision ?? 0) + 1,', ['(found?.revision ?? 0) - 1']],
  ]),
  ...inFile(
    'plugins/sessman/stores/mongodb/index.ts',
    'no fact is without a revision, nor has an object as such',
    [['revision: found?.revision ?? { $exists: false }', ['{}']]],
  ),
  ...inFile('plugins/sessman/stores/observed-store.ts', 'a sentence of /metrics', [
    ["'When the last scrub of the embedded store was complete", ['""']],
    ["'Records that the last scrub read.'", ['""']],
    ["'Damaged records that the last scrub found.'", ['""']],
    ["'Index entries that the last scrub put right.'", ['""']],
  ]),
];

function inFile(file, _reason, lines) {
  return lines.map(([line, becomes]) => ({ file, line, becomes }));
}
