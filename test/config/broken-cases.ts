import { z } from 'zod';
import { boolean, type Configuration, choice, decimal, integer, list, text } from '../../config/index.js';
import type { Files } from './memory.js';

export const network = z.strictObject({
  bindto: text().default('127.0.0.1'),
  port: integer({ min: 0, max: 65535 }).default(6123),
  workers: z.union([integer({ min: 1 }), z.literal('auto')]).default(1),
  level: choice(['trace', 'info', 'warn']).default('info'),
  proxy: boolean().default(false),
  hosts: list().default([]),
  ratio: decimal({ min: 0, max: 1 }).default(0.5),
  apikey: z.union([text(), list()]).optional(),
});

const shop = z.object({
  url: z.string().optional(),
  ttl: z.int().min(60).optional(),
  debug: z.boolean().optional(),
  tags: z.array(z.string()).min(1).optional(),
  mode: z.enum(['fast', 'slow']).optional(),
  code: z.string().length(4).optional(),
  step: z.number().multipleOf(5).optional(),
  name: z
    .string()
    .regex(/^[a-z]+$/)
    .optional(),
  link: z.url().optional(),
  path: z.string().startsWith('/').optional(),
  even: z
    .number()
    .refine((n) => n % 2 === 0, { error: (issue) => `${issue.input} is odd` })
    .optional(),
  servers: z.array(z.object({ host: z.string(), port: z.int().default(80) })).optional(),
  limits: z.object({ soft: z.object({ files: z.int() }) }).optional(),
  weights: z.record(z.string(), z.number()).optional(),
  store: z
    .discriminatedUnion('kind', [
      z.object({ kind: z.literal('file'), folder: z.string() }),
      z.object({ kind: z.literal('database'), url: z.string() }),
    ])
    .optional(),
  size: z.union([z.int(), z.object({ width: z.int(), height: z.int() })]).optional(),
});

export interface BrokenCase {
  readonly what: string;
  /** Lines of plugin-server.ini. */
  readonly ini: readonly string[];
  readonly files?: Files;
  readonly env?: Record<string, string>;
  readonly problems: readonly string[];
}

/** Each line of `shop` in [plugin_parms] is checked against the schema above, and [network] likewise. */
export function check(configuration: Configuration): void {
  if (configuration.section('network')) configuration.read('network', network);
  const lines = configuration.section('plugin_parms')?.fields;
  const line = lines?.get('shop');
  if (line) configuration.check(line, shop, 'shop');
}

export const brokenCases: readonly BrokenCase[] = [
  // Lines
  {
    what: 'keys before the first section, once for all of them',
    ini: ['# comment', 'port=1', 'bindto=x', '[network]'],
    problems: ['2:1: there are keys before the first [section]; write a line such as [main] above'],
  },
  {
    what: 'a section that is not closed, whose keys count all the same',
    ini: ['[network', 'prot=1'],
    problems: [
      '1:1: "]" is missing after the name of the section; write [section]',
      '2:1: unknown key "prot" in [network]; did you mean "port"?',
    ],
  },
  {
    what: 'a section without a name',
    ini: ['[]'],
    problems: ['1:1: the section has no name; write [section]'],
  },
  {
    what: 'something behind a section',
    ini: ['[main] # the main one'],
    problems: ['1:8: nothing may follow "]"; write a comment or a key on its own line'],
  },
  {
    what: 'a word without "="',
    ini: ['[network]', '  workers'],
    problems: ['2:3: "=" is missing; write key=value, on one line'],
  },
  {
    what: 'a colon in place of "="',
    ini: ['[network]', 'port: 6123'],
    problems: ['2:1: "=" is missing; write port=value'],
  },
  {
    what: 'a value that goes on in the next line',
    ini: ['[network]', 'hosts=list:a', '  b'],
    problems: ['3:3: "=" is missing; write key=value, on one line'],
  },
  {
    what: 'a value without a key',
    ini: ['[main]', '=5'],
    problems: ['2:1: the key before "=" is missing; write key=value'],
  },
  {
    what: 'a key given twice, in another case and in another part of its section',
    ini: ['[main]', 'a=1', 'A=2', '[other]', '[MAIN]', 'a=3'],
    problems: [
      '3:1: the key "A" is given twice in [main]; line 2 has it first; remove one of the two',
      '6:1: the key "a" is given twice in [main]; line 2 has it first; remove one of the two',
    ],
  },
  {
    what: 'a fault after a byte order mark and Windows line ends',
    ini: ['\uFEFF[main]\r', 'a=1\r', 'b\r'],
    problems: ['3:1: "=" is missing; write key=value, on one line'],
  },

  // References
  {
    what: 'a key that is not there',
    ini: ['[main]', 'prot=1', '[network]', 'bindto=a${main:port}'],
    problems: ['4:9: key "port" does not exist in [main]; did you mean ${main:prot}?'],
  },
  {
    what: 'a key that is not in the same section, and no near one either',
    ini: ['[main]', 'pass=a${b}c'],
    problems: ['2:7: key "b" does not exist in [main]; write b=… in [main], or $${b} for the text itself'],
  },
  {
    what: 'an environment variable named as a key',
    ini: ['[main]', 'home=${HOME}'],
    env: { HOME: '/root' },
    problems: ['2:6: circular reference: ${main:home} -> ${main:home}; write ${ENV:HOME} for the variable'],
  },
  {
    what: 'an environment variable named as a key of another name',
    ini: ['[main]', 'folder=${HOME}'],
    env: { HOME: '/root' },
    problems: ['2:8: key "HOME" does not exist in [main]; write ${ENV:HOME} for the variable'],
  },
  {
    what: 'a section that is not there',
    ini: ['[main]', 'a=${mian:b}', 'b=1'],
    problems: ['2:3: section [mian] does not exist; did you mean ${main:b}?'],
  },
  {
    what: 'a variable that is not set',
    ini: ['[main]', 'a=x${ENV:NOPE}'],
    problems: ['2:4: the environment variable "NOPE" is not set; set it, or write ${ENV:NOPE:-default}'],
  },
  {
    what: 'a variable whose name every object has',
    ini: ['[main]', 'a=${ENV:constructor}'],
    problems: [
      '2:3: the environment variable "constructor" is not set; set it, or write ${ENV:constructor:-default}',
    ],
  },
  {
    what: 'a variable that is not set within a default',
    ini: ['[main]', 'a=${ENV:A:-${ENV:B}}'],
    problems: ['2:12: the environment variable "B" is not set; set it, or write ${ENV:B:-default}'],
  },
  {
    what: 'a default where there is none',
    ini: ['[main]', 'a=${b:-1}'],
    problems: ['2:3: section [b] does not exist; only ${ENV:NAME:-default} takes a default'],
  },
  {
    what: 'a reference that is not closed',
    ini: ['[main]', 'a=1', 'b=x${a'],
    problems: ['3:4: the reference is not closed: "}" is missing; write ${section:key}, or $$ for a plain $'],
  },
  {
    what: 'references to nothing',
    ini: ['[main]', 'a=${} ${main:} ${:a}'],
    problems: [3, 7, 16].map(
      (column) =>
        `2:${column}: the reference is empty; write \${section:key}, \${key}, \${ENV:NAME} or \${FILE:PATH}, or $$ for a plain $`,
    ),
  },
  {
    what: 'a circle, once, with all that is in it',
    ini: ['[main]', 'start=${a}', 'a=1${other:b}', '[other]', 'b=${c}', 'c=${main:a}'],
    problems: [
      '3:4: circular reference: ${main:a} -> ${other:b} -> ${other:c} -> ${main:a}; give one of them a plain value',
    ],
  },
  {
    what: 'a circle of one',
    ini: ['[main]', 'a=${main:a}'],
    problems: ['2:3: circular reference: ${main:a} -> ${main:a}; give one of them a plain value'],
  },
  {
    what: 'a list within text',
    ini: ['[main]', 'l=list:a b', 'x=pre${l}'],
    problems: ['3:6: ${l} is a list, which cannot be part of a text; make the reference the whole value'],
  },
  {
    what: 'an object within text, and what was to be converted from it',
    ini: ['[main]', 'o=json=o.json', 'x=${o}.', 'y=int:${x}'],
    files: { 'o.json': '{}' },
    problems: ['3:3: ${o} is an object, which cannot be part of a text; make the reference the whole value'],
  },
  {
    what: 'names that are long, or would not print',
    ini: ['[network]', `${'x'.repeat(100)}=1`, 'a\u001B[31m\u202E=1'],
    problems: [
      `2:1: unknown key "${'x'.repeat(59)}…" in [network]; known keys: bindto, port, workers, level, proxy, hosts, ratio, apikey`,
      '3:1: unknown key "a\\u001b[31m\\u{202e}" in [network]; known keys: bindto, port, workers, level, proxy, hosts, ratio, apikey',
    ],
  },
  {
    what: 'references that multiply without end',
    ini: ['[main]', 'a0=lol', ...Array.from({ length: 25 }, (_, i) => `a${i + 1}=\${a${i}}\${a${i}}`)],
    problems: ['21:11: references make the value longer than 1048576 characters'],
  },

  // Types
  ...['1.5', '0x10', ' 5', '5 0', '', '+5', '007', '1e3', '--5', '٣', '99999999999999999999', 'true'].map(
    (value) => ({
      what: `int:${value}`,
      ini: ['[main]', `a=int:${value}`],
      problems: [
        '2:7: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123',
      ],
    }),
  ),
  ...['nan', 'Infinity', '1e999', '1,5', '.5', '0x1p3', ''].map((value) => ({
    what: `float:${value}`,
    ini: ['[main]', `a=float:${value}`],
    problems: [
      '2:9: the value after float: is not a decimal number; write digits and a point, such as float:0.5',
    ],
  })),
  {
    what: 'bool: of neither',
    ini: ['[main]', 'a=bool:maybe'],
    problems: [
      '2:8: the value after bool: is neither true nor false; write bool: and one of true, enabled, enable, on, yes, 1; false, disabled, disable, off, no, 0',
    ],
  },
  {
    what: 'an item of a list',
    ini: ['[main]', 'a=list:int:1 int:x int:3'],
    problems: [
      '2:18: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123',
    ],
  },
  {
    what: 'a list in a list',
    ini: ['[main]', 'a=list:b list:c'],
    problems: ['2:10: a list cannot hold a list; write list: once'],
  },
  {
    what: 'a type that what a reference gives is not of',
    ini: ['[main]', 'a=int:${ENV:PORT}'],
    env: { PORT: 'http' },
    problems: [
      '2:7: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123',
    ],
  },

  // Parameters
  {
    what: 'parameters without a name',
    ini: ['[plugin_parms]', 'shop=url=a&b'],
    problems: [
      '2:12: the parameter is not name=value; put a value that contains "&" in [main], and write ${main:key} here',
    ],
  },
  {
    what: 'nothing beside a "&"',
    ini: ['[plugin_parms]', 'a=&url=x', 'b=url=x&', 'c=url=x&&ttl=1'],
    problems: [
      '2:3: a parameter is missing beside this "&"; write a=1&b=2',
      '3:8: a parameter is missing beside this "&"; write a=1&b=2',
      '4:9: a parameter is missing beside this "&"; write a=1&b=2',
    ],
  },
  {
    what: 'a parameter given twice',
    ini: ['[plugin_parms]', 'shop=url=a&ttl=int:60&URL=b'],
    problems: ['2:23: the parameter "URL" is given twice; remove one of the two'],
  },
  {
    what: 'a parameter given in a JSON file too',
    ini: ['[plugin_parms]', 'shop=json=shop.json&url=b'],
    files: { 'shop.json': '{\n "url": "a"\n}' },
    problems: ['2:21: the parameter "url" is given twice; shop.json has it in line 2; remove one of the two'],
  },
  {
    what: 'a parameter given in two JSON files',
    ini: ['[plugin_parms]', 'shop=json=a.json&json=b.json'],
    files: { 'a.json': '{"url": "a"}', 'b.json': '{"url": "b"}' },
    problems: ['2:23: the parameter "url" is given twice; a.json has it in line 1; remove one of the two'],
  },

  // JSON files
  {
    what: 'a JSON file that is nowhere, with every place that was tried',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    problems: ['2:11: the file "shop.json" does not exist; looked for shop.json and plugins/shop.json'],
  },
  {
    what: 'a JSON file that is not in a folder elsewhere',
    ini: ['[paths]', 'plugins=/opt/plugins', '[main]', 'a=json=sub/a.json'],
    problems: [
      '4:8: the file "sub/a.json" does not exist; looked for sub/a.json and /opt/plugins/sub/a.json',
    ],
  },
  {
    what: 'a JSON file without a name',
    ini: ['[plugin_parms]', 'shop=json='],
    problems: ['2:11: the name of the JSON file is missing; write json=FILE'],
  },
  {
    what: 'a folder where a JSON file is meant',
    ini: ['[main]', 'a=json=plugins'],
    files: { plugins: { code: 'EISDIR' } },
    problems: ['2:8: the file "plugins" is a folder'],
  },
  {
    what: 'a JSON file that may not be read',
    ini: ['[main]', 'a=json=a.json'],
    files: { 'a.json': { code: 'EACCES' } },
    problems: ['2:8: the file "a.json" may not be read by this user'],
  },
  {
    what: 'an empty JSON file',
    ini: ['[main]', 'a=json=a.json'],
    files: { 'a.json': '\n\n' },
    problems: ['a.json:1:1: the JSON file is empty; write {}'],
  },
  {
    what: 'JSON that is no object where parameters are meant',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: { 'shop.json': '[1]' },
    problems: ['2:11: this is not an object; write an object: {"key": value}'],
  },
  ...(
    [
      ['{"url": "a" "ttl": 1}', '1:13: "," is missing before this'],
      ['{"url": "a"\n "ttl": 1}', '2:2: "," is missing before this'],
      ["{'url': 1}", `1:2: this is not a JSON value; put text in double quotes`],
      ['{"url": a}', '1:9: this is not a JSON value; put text in double quotes'],
      ['{"url" "a"}', '1:8: ":" is missing after the key; write "key": value'],
      ['{"url": }', '1:9: a value is missing here'],
      ['{"url": "a}', '1:9: the text is not closed; write " at its end'],
      ['{"url": "\\x"}', '1:9: this is not an escape; write \\\\ for a backslash'],
      ['{"url": "\\u12"}', '1:9: this is not a \\u escape; write \\u and four hexadecimal digits'],
      [
        '{"url": "a\tb"}',
        '1:9: a text contains a control character; write it as an escape such as \\n or \\t',
      ],
      ['{"url": "a"', '1:12: "}" is missing'],
      ['{"tags": ["a"', '1:14: "]" is missing'],
      ['{"url": "a"} 5', '1:14: nothing may follow the JSON value'],
      ['{"ttl": 1.}', '1:9: the number is not finished; write it as 6123 or 0.5'],
      ['{"url": "a" /* b', '1:13: the comment is not closed; write */ at its end'],
      ['{"url": "a", "__proto__": {}}', '1:14: the key "__proto__" is not allowed; remove it or rename it'],
      [
        '{"url": "a",\n "url": "b"}',
        '2:2: the key "url" is given twice; line 1 has it first; remove one of the two',
      ],
      [`${'['.repeat(101)}${']'.repeat(101)}`, '1:101: the JSON is nested more than 100 deep'],
    ] as const
  ).map(([json, problem]) => ({
    what: `the JSON ${json.slice(0, 40)}`,
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: { 'shop.json': json },
    problems: [`shop.json:${problem}`],
  })),

  // The host's own kinds of keys
  {
    what: 'an unknown key without a near one',
    ini: ['[network]', 'colour=red'],
    problems: [
      '2:1: unknown key "colour" in [network]; known keys: bindto, port, workers, level, proxy, hosts, ratio, apikey',
    ],
  },
  {
    what: 'every kind of wrong value in a section, at once',
    ini: [
      '[network]',
      'bindto=',
      'port=int:70000',
      'workers=0',
      'level=wran',
      'proxy=maybe',
      'hosts=json=hosts.json',
      'ratio=1.5',
      'apikey=int:5',
    ],
    files: { 'hosts.json': '["a", 5]' },
    problems: [
      '2:8: "bindto" in [network] must not be empty',
      '3:6: "port" in [network] must be at most 65535, but is 70000',
      '4:9: "workers" in [network] must be at least 1, but is 0',
      '5:7: "level" in [network] must be "trace", "info" or "warn", but is the text "wran"; did you mean "warn"?',
      '6:7: "proxy" in [network] must be true or false, but is the text "maybe"; write proxy=bool:false',
      '8:7: "ratio" in [network] must be at most 1, but is 1.5',
      '9:8: "apikey" in [network] must be text or a list, but is a number; write apikey=TEXT',
      'hosts.json:1:7: "hosts[1]" in [network] must be text, but is 5; write "5"',
    ],
  },
  {
    what: 'values of the wrong type',
    ini: [
      '[network]',
      'bindto=int:5',
      'port=http',
      'workers=bool:on',
      'hosts=bool:on',
      'ratio=abc',
      'level=list:info',
    ],
    problems: [
      '2:8: "bindto" in [network] must be text, but is 5; write bindto=5',
      '3:6: "port" in [network] must be an integer, but is the text "http"; write port=int:6123',
      '4:9: "workers" in [network] must be an integer or "auto", but is true; write workers=int:1',
      '5:7: "hosts" in [network] must be a list, but is true; write hosts=list:TEXT',
      '6:7: "ratio" in [network] must be a number, but is the text "abc"; write ratio=float:0.5',
      '7:7: "level" in [network] must be "trace", "info" or "warn", but is a list',
    ],
  },
  {
    what: 'a value that a reference brought, at the reference',
    ini: ['[main]', 'p=int:70000', '[network]', 'port=${main:p}'],
    problems: ['4:6: "port" in [network] must be at most 65535, but is 70000'],
  },
  {
    what: 'a value that is wrong for two readers, once',
    ini: ['[main]', 'p=int:x', '[network]', 'port=${main:p}', 'bindto=${main:p}'],
    problems: [
      '2:7: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123',
    ],
  },
  {
    what: 'an unknown key whose value is wrong as well',
    ini: ['[network]', 'prot=int:x'],
    problems: [
      '2:1: unknown key "prot" in [network]; did you mean "port"?',
      '2:10: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123',
    ],
  },

  // A plugin's schema
  {
    what: 'parameters of the wrong type, with what to write',
    ini: ['[plugin_parms]', 'shop=url=int:5&ttl=86400&debug=yes&tags=x&mode=fats'],
    problems: [
      '2:10: "url" in shop must be text, but is 5; write url=5',
      '2:20: "ttl" in shop must be an integer, but is the text "86400"; write ttl=int:86400',
      '2:32: "debug" in shop must be true or false, but is the text "yes"; write debug=bool:yes',
      '2:41: "tags" in shop must be a list, but is the text "x"; write tags=list:x',
      '2:48: "mode" in shop must be "fast" or "slow", but is the text "fats"; did you mean "fast"?',
    ],
  },
  {
    what: 'a parameter of the wrong type that is a reference',
    ini: ['[plugin_parms]', 'shop=ttl=${ENV:TTL}'],
    env: { TTL: '600' },
    problems: ['2:10: "ttl" in shop must be an integer, but is the text "600"; write ttl=int:${ENV:TTL}'],
  },
  {
    what: 'parameters out of bounds, out of form and out of favour',
    ini: [
      '[plugin_parms]',
      'shop=ttl=int:5&tags=list:&code=abc&step=int:3&name=A1&link=nowhere&path=x&even=int:3',
    ],
    problems: [
      '2:10: "ttl" in shop must be at least 60, but is 5',
      '2:21: "tags" in shop must have at least 1 item',
      '2:32: "code" in shop must have exactly 4 characters',
      '2:41: "step" in shop must be a multiple of 5, but is 3',
      '2:52: "name" in shop must match /^[a-z]+$/',
      '2:60: "link" in shop must be a URL',
      '2:73: "path" in shop must start with "/"',
      '2:80: "even" in shop: 3 is odd',
    ],
  },
  {
    what: 'keys of objects in lists in JSON',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: {
      'shop.json': [
        '{',
        '  "servers": [',
        '    { "host": "a", "prot": 1 },',
        '    { "port": "80" },',
        '    7',
        '  ]',
        '}',
      ].join('\n'),
    },
    problems: [
      'shop.json:3:20: unknown key "prot" in "servers[0]" of shop; did you mean "port"?',
      'shop.json:4:5: "servers[1].host" in shop is missing; write "host": "TEXT"',
      'shop.json:4:15: "servers[1].port" in shop must be an integer, but is the text "80"; write "port": 80',
      'shop.json:5:5: "servers[2]" in shop must be an object, but is 7; write {"host":"TEXT"}',
    ],
  },
  {
    what: 'a misspelt key, but not the missing one that was meant',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: { 'shop.json': '{"limits": {"soft": {"flies": 5}}}' },
    problems: ['shop.json:1:22: unknown key "flies" in "limits.soft" of shop; did you mean "files"?'],
  },
  {
    what: 'unions, by the branch that was meant',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: {
      'shop.json':
        '{"store": {"kind": "file"},\n "size": {"width": "5", "height": 5},\n "weights": {"a": "b"}}',
    },
    problems: [
      'shop.json:1:11: "store.folder" in shop is missing; write "folder": "TEXT"',
      'shop.json:2:20: "size.width" in shop must be an integer, but is the text "5"; write "width": 5',
      'shop.json:3:19: "weights.a" in shop must be a number, but is the text "b"; write "a": 1',
    ],
  },
  {
    what: 'unions of which no branch was meant',
    ini: ['[plugin_parms]', 'shop=json=shop.json'],
    files: { 'shop.json': '{"store": {"kind": "flie", "folder": "x"},\n "size": "big"}' },
    problems: [
      'shop.json:1:20: "store.kind" in shop must be "file" or "database", but is the text "flie"; did you mean "file"?',
      'shop.json:2:10: "size" in shop must be an integer or an object, but is the text "big"; write "size": 1',
    ],
  },
  {
    what: 'problems of all files, the INI file first, in order',
    ini: ['[plugin_parms]', 'b=json=b.json', 'a=json=a.json', 'c', 'shop=nmae=x'],
    files: { 'a.json': '[', 'b.json': '{' },
    problems: [
      '4:1: "=" is missing; write key=value, on one line',
      '5:6: unknown key "nmae" in shop; did you mean "name"?',
      'b.json:1:2: "}" is missing',
      'a.json:1:2: "]" is missing',
    ],
  },
];
