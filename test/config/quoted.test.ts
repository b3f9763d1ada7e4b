import { expect } from 'chai';
import { printed, read } from './memory.js';

/** A text and each problem with it as it is printed, without the empty line above the one that is quoted. */
type Case = readonly [text: string, ...problems: string[]];

const json: readonly Case[] = [
  [
    '{"password": "abc", "port": x}',
    'a.json:1:29: this is not a JSON value; put text in double quotes\n1 | {"password": ***, "port": x}\n  |                           ^',
  ],
  [
    '{"password": {"a": [1, 2], "b": {}}, "b": x}',
    'a.json:1:43: this is not a JSON value; put text in double quotes\n1 | {"password": ***, "b": x}\n  |                        ^',
  ],
  [
    '{"password": [1, 2], "b": x}',
    'a.json:1:27: this is not a JSON value; put text in double quotes\n1 | {"password": ***, "b": x}\n  |                        ^',
  ],
  [
    '{"password": , "b": x}',
    'a.json:1:14: a value is missing here\n1 | {"password": , "b": x}\n  |              ^',
  ],
  [
    '{"password": "a" "b": x}\n',
    'a.json:1:18: "," is missing before this\n1 | {"password": ***\n  |              ^^^',
  ],
  [
    '{"password" "abc", "b": x}',
    'a.json:1:13: ":" is missing after the key; write "key": value\n1 | {"password" ***, "b": x}\n  |             ^^^',
  ],
  [
    '["token", x]',
    'a.json:1:11: this is not a JSON value; put text in double quotes\n1 | ["token", x]\n  |           ^',
  ],
  [
    '{"u": "http://a:pw@h", "b": x}',
    'a.json:1:29: this is not a JSON value; put text in double quotes\n1 | {"u": "http://a:***@h", "b": x}\n  |                              ^',
  ],
  [
    '{"b": x, "secret": tru, "c": 1}',
    'a.json:1:7: this is not a JSON value; put text in double quotes\n1 | {"b": x, "secret": ***, "c": 1}\n  |       ^',
  ],
  ['{"secret": {"a": 1}', 'a.json:1:20: "}" is missing\n1 | {"secret": ***\n  |               ^'],
  [
    '{"b": x, "token": "a\\"b", "c": 1}',
    'a.json:1:7: this is not a JSON value; put text in double quotes\n1 | {"b": x, "token": ***, "c": 1}\n  |       ^',
  ],
  [
    '{"token": /* c */ "abc", "d": y}',
    'a.json:1:31: this is not a JSON value; put text in double quotes\n1 | {"token": /* c */ ***, "d": y}\n  |                             ^',
  ],
  [
    '[["password", 5], x]',
    'a.json:1:19: this is not a JSON value; put text in double quotes\n1 | [["password", 5], x]\n  |                   ^',
  ],
  [
    '{"password": "a]", x}',
    'a.json:1:20: this is not a JSON value; put text in double quotes\n1 | {"password": ***, x}\n  |                   ^',
  ],
  [
    '{"password": [1}, "b": x}',
    'a.json:1:16: "," is missing before this\n1 | {"password": ***, "b": x}\n  |              ^^^',
  ],
  [
    '{"password"}',
    'a.json:1:12: ":" is missing after the key; write "key": value\n1 | {"password"}\n  |            ^',
  ],
  ['{"password": 5 ', 'a.json:1:16: "}" is missing\n1 | {"password": *** \n  |                  ^'],
  ['{"a": 01}', 'a.json:1:8: "," is missing before this\n1 | {"a": 01}\n  |        ^'],
  [
    '{"a": 1.}',
    'a.json:1:7: the number is not finished; write it as 6123 or 0.5\n1 | {"a": 1.}\n  |       ^^',
  ],
  ['{"a": -}', 'a.json:1:7: this is not a JSON value; put text in double quotes\n1 | {"a": -}\n  |       ^'],
  [
    '{"a": 1e}',
    'a.json:1:7: the number is not finished; write it as 6123 or 0.5\n1 | {"a": 1e}\n  |       ^^',
  ],
  ['{a: 1}', 'a.json:1:2: this is not a JSON value; put text in double quotes\n1 | {a: 1}\n  |  ^'],
  ['{"a": }', 'a.json:1:7: a value is missing here\n1 | {"a": }\n  |       ^'],
  ['{"a" 1}', 'a.json:1:6: ":" is missing after the key; write "key": value\n1 | {"a" 1}\n  |      ^'],
  ['{"a": 1 "b": 2}', 'a.json:1:9: "," is missing before this\n1 | {"a": 1 "b": 2}\n  |         ^^^'],
  ['[1 2]', 'a.json:1:4: "," is missing before this\n1 | [1 2]\n  |    ^'],
  ['{"a": 1', 'a.json:1:8: "}" is missing\n1 | {"a": 1\n  |        ^'],
  ['[1', 'a.json:1:3: "]" is missing\n1 | [1\n  |   ^'],
  ['{} {}', 'a.json:1:4: nothing may follow the JSON value\n1 | {} {}\n  |    ^'],
  [
    '{"a": 1} /*',
    'a.json:1:10: the comment is not closed; write */ at its end\n1 | {"a": 1} /*\n  |          ^^',
  ],
  ['{"a": "x', 'a.json:1:7: the text is not closed; write " at its end\n1 | {"a": "x\n  |       ^^'],
  [
    '{"a": "\\u12"}',
    'a.json:1:7: this is not a \\u escape; write \\u and four hexadecimal digits\n1 | {"a": "\\u12"}\n  |       ^^^^^^',
  ],
  [
    '{"a": "\\q"}',
    'a.json:1:7: this is not an escape; write \\\\ for a backslash\n1 | {"a": "\\q"}\n  |       ^^^^',
  ],
  [
    '{"a": "x\ty"}',
    'a.json:1:7: a text contains a control character; write it as an escape such as \\n or \\t\n1 | {"a": "x  y"}\n  |       ^^^^^^',
  ],
  ['', 'a.json:1:1: the JSON file is empty; write {}'],
  ['  ', 'a.json:1:1: the JSON file is empty; write {}'],
  ['nul', 'a.json:1:1: this is not a JSON value; put text in double quotes\n1 | nul\n  | ^^^'],
  [
    '{"a": 1,\n"b": 2,\n"a": 3}',
    'a.json:3:1: the key "a" is given twice; line 1 has it first; remove one of the two\n3 | "a": 3}\n  | ^^^',
  ],
  [
    '{"__proto__": 1, "b": 9007199254740993}',
    'a.json:1:2: the key "__proto__" is not allowed; remove it or rename it\n1 | {"__proto__": 1, "b": 9007199254740993}\n  |  ^^^^^^^^^^^',
    'a.json:1:23: this number cannot be represented exactly; write it as text in double quotes, or use a number that a double holds\n1 | {"__proto__": 1, "b": 9007199254740993}\n  |                       ^^^^^^^^^^^^^^^^',
  ],
  ['[1,,2]', 'a.json:1:4: a value is missing here\n1 | [1,,2]\n  |    ^'],
  ["{'a': 1}", "a.json:1:2: this is not a JSON value; put text in double quotes\n1 | {'a': 1}\n  |  ^^^"],
  ['// c\n{"a":1,}'],
  [
    '{"a": "${ENV:NO}", "b": "${ENV:NO:-d}"}',
    'a.json:1:7: the environment variable "NO" is not set; set it, or write ${ENV:NO:-default}\n1 | {"a": "${ENV:NO}", "b": "${ENV:NO:-d}"}\n  |       ^^^^^^^^^^^',
  ],
  [
    '{"a": "${FILE:no}"}',
    'a.json:1:7: the file "no" does not exist; create it, or correct the path\n1 | {"a": "${FILE:no}"}\n  |       ^^^^^^^^^^^^',
  ],
  [
    '{"password": "${ENV:NO}"}',
    'a.json:1:14: an environment variable is not set; set it, or write ${ENV:NAME:-default}\n1 | {"password": ***}\n  |              ^^^',
  ],
  ['{"a": "$${ENV:NO} ${x} $"}'],
];

/** The same, with what is read of it. */
type IniCase = readonly [text: string, value: object, ...problems: string[]];

const ini: readonly IniCase[] = [
  [
    'x\n[a]\nb=1',
    { a: { b: '1' } },
    'plugin-server.ini:1:1: "=" is missing; write key=value, on one line\n1 | x\n  | ^',
  ],
  [
    '[a]\npassword=1\n=x\n=y',
    { a: { password: '1' } },
    'plugin-server.ini:3:1: the key before "=" is missing; write key=value\n3 | =***\n  | ^',
    'plugin-server.ini:4:1: the key before "=" is missing; write key=value\n4 | =***\n  | ^',
  ],
  [
    '[a]\npassword=1\nx\ny=2\nz',
    { a: { password: '1', y: '2', z: '' } },
    'plugin-server.ini:3:1: "=" is missing; write key=value, on one line\n3 | ***\n  | ^^^',
    'plugin-server.ini:5:1: "=" is missing; write key=value, on one line\n5 | z\n  | ^',
  ],
  [
    '[__proto__]\na=1',
    {},
    'plugin-server.ini:1:2: a section cannot be called "__proto__"; rename it\n1 | [__proto__]\n  |  ^^^^^^^^^',
  ],
  [
    '[a]\n__proto__=1',
    { a: {} },
    'plugin-server.ini:2:1: a key cannot be called "__proto__"; rename it\n2 | __proto__=1\n  | ^^^^^^^^^',
  ],
  ['[a]\n __PROTO__ = 1', { a: { __PROTO__: '1' } }],
  [
    '[a',
    { a: {} },
    'plugin-server.ini:1:1: "]" is missing after the name of the section; write [section]\n1 | [a\n  | ^^',
  ],
  ['[]', { '': {} }, 'plugin-server.ini:1:1: the section has no name; write [section]\n1 | []\n  | ^^'],
  [
    '[a] x',
    { a: {} },
    'plugin-server.ini:1:5: nothing may follow "]"; write a comment or a key on its own line\n1 | [a] x\n  |     ^',
  ],
  [
    '[a]x',
    { a: {} },
    'plugin-server.ini:1:4: nothing may follow "]"; write a comment or a key on its own line\n1 | [a]x\n  |    ^',
  ],
  [
    '[ ]\nb',
    { '': { b: '' } },
    'plugin-server.ini:1:1: the section has no name; write [section]\n1 | [ ]\n  | ^^^',
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | b\n  | ^',
  ],
  [
    'a=1\nb=2\n[c]\nd=3',
    { c: { d: '3' } },
    'plugin-server.ini:1:1: there are keys before the first [section]; write a line such as [main] above\n1 | a=1\n  | ^',
  ],
  [
    '[a]\n=5',
    { a: {} },
    'plugin-server.ini:2:1: the key before "=" is missing; write key=value\n2 | =5\n  | ^',
  ],
  [
    '[a]\nb',
    { a: { b: '' } },
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | b\n  | ^',
  ],
  ['[a]\nb: 5', { a: { b: '' } }, 'plugin-server.ini:2:1: "=" is missing; write b=value\n2 | b: 5\n  | ^^^^'],
  [
    '[a]\nb 5',
    { a: { b: '' } },
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | b 5\n  | ^^^',
  ],
  [
    '[a]\nb=1\nB=2',
    { a: { b: '1' } },
    'plugin-server.ini:3:1: the key "B" is given twice in [a]; line 2 has it first; remove one of the two\n3 | B=2\n  | ^',
  ],
  [
    '[a]\nb\nb=2',
    { a: { b: '2' } },
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | b\n  | ^',
  ],
  [
    '[a]\npassword=1\n=x',
    { a: { password: '1' } },
    'plugin-server.ini:3:1: the key before "=" is missing; write key=value\n3 | =***\n  | ^',
  ],
  [
    '[a]\nb=1\n=x',
    { a: { b: '1' } },
    'plugin-server.ini:3:1: the key before "=" is missing; write key=value\n3 | =x\n  | ^',
  ],
  [
    '[a]\npassword=1\nrest',
    { a: { password: '1' } },
    'plugin-server.ini:3:1: "=" is missing; write key=value, on one line\n3 | ***\n  | ^^^',
  ],
  [
    '[a]\npassword=1\n# c\nrest',
    { a: { password: '1' } },
    'plugin-server.ini:4:1: "=" is missing; write key=value, on one line\n4 | ***\n  | ^^^',
  ],
  [
    '[a]\npassword=1\n[b]\nrest',
    { a: { password: '1' }, b: { rest: '' } },
    'plugin-server.ini:4:1: "=" is missing; write key=value, on one line\n4 | rest\n  | ^^^^',
  ],
  [
    '[a]\npassword x y',
    { a: { password: '' } },
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | password***\n  | ^^^^^^^^^^^',
  ],
  [
    '[a]\n: x',
    { a: {} },
    'plugin-server.ini:2:1: "=" is missing; write key=value, on one line\n2 | : x\n  | ^^^',
  ],
  [
    '[a]\nb=${c}',
    { a: {} },
    'plugin-server.ini:2:3: key "c" does not exist in [a]; write c=… in [a], or $${c} for the text itself\n2 | b=${c}\n  |   ^^^^',
  ],
  [
    '[a]\nb=${c',
    { a: { b: '${c' } },
    'plugin-server.ini:2:3: the reference is not closed: "}" is missing; write ${section:key}, or $$ for a plain $\n2 | b=${c\n  |   ^^^',
  ],
  [
    '[a]\nb=${}',
    { a: { b: '${}' } },
    'plugin-server.ini:2:3: the reference is empty; write ${section:key}, ${key}, ${ENV:NAME} or ${FILE:PATH}, or $$ for a plain $\n2 | b=${}\n  |   ^^^',
  ],
  [
    '[a]\nb=${:x}',
    { a: { b: '${:x}' } },
    'plugin-server.ini:2:3: the reference is empty; write ${section:key}, ${key}, ${ENV:NAME} or ${FILE:PATH}, or $$ for a plain $\n2 | b=${:x}\n  |   ^^^^^',
  ],
  [
    '[a]\nb=${x:}',
    { a: { b: '${x:}' } },
    'plugin-server.ini:2:3: the reference is empty; write ${section:key}, ${key}, ${ENV:NAME} or ${FILE:PATH}, or $$ for a plain $\n2 | b=${x:}\n  |   ^^^^^',
  ],
  [
    '[a]\nb=${ENV:X}',
    { a: {} },
    'plugin-server.ini:2:3: the environment variable "X" is not set; set it, or write ${ENV:X:-default}\n2 | b=${ENV:X}\n  |   ^^^^^^^^',
  ],
  ['[a]\nb=${ENV:X:-y}', { a: { b: 'y' } }],
  [
    '[a]\nb=${FILE:no}',
    { a: {} },
    'plugin-server.ini:2:3: the file "no" does not exist; create it, or correct the path\n2 | b=${FILE:no}\n  |   ^^^^^^^^^^',
  ],
  ['[a]\nb=${FILE:f.txt}', { a: { b: 'text' } }],
  ['[a]\nb=${FILE:g.txt}', { a: { b: 'g' } }],
  [
    '[a]\nb=${b}',
    { a: {} },
    'plugin-server.ini:2:3: circular reference: ${a:b} -> ${a:b}; give one of them a plain value\n2 | b=${b}\n  |   ^^^^',
  ],
  [
    '[a]\nb=${c}\nc=${b}',
    { a: {} },
    'plugin-server.ini:2:3: circular reference: ${a:b} -> ${a:c} -> ${a:b}; give one of them a plain value\n2 | b=${c}\n  |   ^^^^',
  ],
  [
    '[a]\nb=int:x',
    { a: {} },
    'plugin-server.ini:2:7: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123\n2 | b=int:x\n  |       ^',
  ],
  [
    '[a]\nb=int:',
    { a: {} },
    'plugin-server.ini:2:7: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123\n2 | b=int:\n  |       ^',
  ],
  [
    '[a]\nb=float:1.',
    { a: {} },
    'plugin-server.ini:2:9: the value after float: is not a decimal number; write digits and a point, such as float:0.5\n2 | b=float:1.\n  |         ^^',
  ],
  [
    '[a]\nb=bool:maybe',
    { a: {} },
    'plugin-server.ini:2:8: the value after bool: is neither true nor false; write bool: and one of true, enabled, enable, on, yes, 1; false, disabled, disable, off, no, 0\n2 | b=bool:maybe\n  |        ^^^^^',
  ],
  [
    '[a]\nb=list:int:x list:y',
    { a: {} },
    'plugin-server.ini:2:12: the value after int: is not an integer; write up to 15 digits and nothing else, such as int:6123\n2 | b=list:int:x list:y\n  |            ^',
    'plugin-server.ini:2:14: a list cannot hold a list; write list: once\n2 | b=list:int:x list:y\n  |              ^^^^^^',
  ],
  [
    '[a]\nb=list:int:1,int:2',
    { a: { b: [undefined] } },
    'plugin-server.ini:2:12: the value after int: is not an integer; separate the items of a list with blanks, such as list:int:1 int:2\n2 | b=list:int:1,int:2\n  |            ^^^^^^^',
  ],
  [
    '[a]\nb=json=',
    { a: {} },
    'plugin-server.ini:2:8: the name of the JSON file is missing; write json=FILE\n2 | b=json=\n  |        ^',
  ],
  [
    '[a]\nb=json=no.json',
    { a: {} },
    'plugin-server.ini:2:8: the file "no.json" does not exist; looked for no.json and plugins/no.json\n2 | b=json=no.json\n  |        ^^^^^^^',
  ],
  ['[a]\nb=json=e.json', { a: { b: { x: { y: 1 } } } }],
  [
    '[a]\nb=json=e.json\nc=x${b}',
    { a: { b: { x: { y: 1 } } } },
    'plugin-server.ini:3:4: ${b} is an object, which cannot be part of a text; make the reference the whole value\n3 | c=x${b}\n  |    ^^^^',
  ],
  [
    '[a]\nb=list:x y\nc=${b}z',
    { a: { b: ['x', 'y'] } },
    'plugin-server.ini:3:3: ${b} is a list, which cannot be part of a text; make the reference the whole value\n3 | c=${b}z\n  |   ^^^^',
  ],
  ['[a]\nb=list:x y\nc=list:${b} z', { a: { b: ['x', 'y'], c: ['x', 'y', 'z'] } }],
  ['[a]\nb=x y\nc=list:${b}\nd=list:${b} z', { a: { b: 'x y', c: ['x', 'y'], d: ['x y', 'z'] } }],
  [
    '[main]\nx=1\n[a]\nb=${main:y}',
    { main: { x: '1' }, a: {} },
    'plugin-server.ini:4:3: key "y" does not exist in [main]; write y=… in [main], or $${main:y} for the text itself\n4 | b=${main:y}\n  |   ^^^^^^^^^',
  ],
  [
    '[main]\nx=1\n[a]\nb=${mian:x}',
    { main: { x: '1' }, a: {} },
    'plugin-server.ini:4:3: section [mian] does not exist; did you mean ${main:x}?\n4 | b=${mian:x}\n  |   ^^^^^^^^^',
  ],
  ['[a]\nb=$$ $${x} $', { a: { b: '$ ${x} $' } }],
  ['[a]\nb=${a:c}\nc=5', { a: { b: '5', c: '5' } }],
  ['[A]\nb=1\n[a]\nc=2', { A: { b: '1', c: '2' } }],
];

const parameters: readonly IniCase[] = [
  ['[p]\ns=a=1&b=int:2', { p: { s: { a: '1', b: 2 } } }],
  [
    '[p]\ns=a=1&a=2',
    { p: { s: { a: '1' } } },
    'plugin-server.ini:2:7: the parameter "a" is given twice; remove one of the two\n2 | s=a=1&a=2\n  |       ^',
  ],
  [
    '[p]\ns=a',
    { p: { s: {} } },
    'plugin-server.ini:2:3: the parameter is not name=value; put a value that contains "&" in [main], and write ${main:key} here\n2 | s=a\n  |   ^',
  ],
  [
    '[p]\ns=a=1&&b=2',
    { p: { s: { a: '1', b: '2' } } },
    'plugin-server.ini:2:7: a parameter is missing beside this "&"; write a=1&b=2\n2 | s=a=1&&b=2\n  |       ^',
  ],
  [
    '[p]\ns==1',
    { p: { s: {} } },
    'plugin-server.ini:2:3: the parameter is not name=value; put a value that contains "&" in [main], and write ${main:key} here\n2 | s==1\n  |   ^^',
  ],
  ['[p]\ns=json=e.json', { p: { s: { x: { y: 1 } } } }],
  ['[p]\ns=json=e.json&b=1', { p: { s: { x: { y: 1 }, b: '1' } } }],
  [
    '[p]\ns=json=e.json&x=1',
    { p: { s: { x: { y: 1 } } } },
    'plugin-server.ini:2:15: the parameter "x" is given twice; e.json has it in line 1; remove one of the two\n2 | s=json=e.json&x=1\n  |               ^',
  ],
  [
    '[p]\ns=__proto__=1',
    { p: { s: {} } },
    'plugin-server.ini:2:3: a parameter cannot be called "__proto__"; rename it\n2 | s=__proto__=1\n  |   ^^^^^^^^^',
  ],
  [
    '[p]\ns=a=1&json=no.json',
    { p: { s: { a: '1' } } },
    'plugin-server.ini:2:12: the file "no.json" does not exist; looked for no.json and plugins/no.json\n2 | s=a=1&json=no.json\n  |            ^^^^^^^',
  ],
  [
    '[m]\no=json=e.json\nv=5\n[p]\ns=${m:o}&c=1\nt=${m:v}',
    { m: { o: { x: { y: 1 } }, v: '5' }, p: { s: { x: { y: 1 }, c: '1' }, t: {} } },
    'plugin-server.ini:6:3: this is not an object; write an object: {"key": value}\n6 | t=${m:v}\n  |   ^^^^^^',
  ],
  ['[p]\ns=a=x y&b=list:1 2', { p: { s: { a: 'x y', b: ['1', '2'] } } }],
  ['[p]\ns= a = 1 & b = 2 ', { p: { s: { a: '1', b: '2' } } }],
  ['[p]\ns=', { p: { s: {} } }],
  [
    '[p]\ns=a=1&b',
    { p: { s: { a: '1' } } },
    'plugin-server.ini:2:7: the parameter is not name=value; put a value that contains "&" in [main], and write ${main:key} here\n2 | s=a=1&b\n  |       ^',
  ],
  [
    '[p]\ns=password=x&b=${c}',
    { p: { s: { password: 'x' } } },
    'plugin-server.ini:2:16: key "c" does not exist in [p]; write c=… in [p], or $${c} for the text itself\n2 | s=password=***&b=${c}\n  |                  ^^^^',
  ],
];

const files = { 'e.json': '{"x":{"y":1}}', 'f.txt': 'text\n', 'g.txt': '\uFEFFg\r\n' };

describe('what is printed of a mistake', () => {
  const shown = (configuration: ReturnType<typeof read>) =>
    printed(configuration).map((text) => text.replace(/\n *\|(?=\n)/, ''));

  for (const [text, ...problems] of json) {
    it(`JSON: ${JSON.stringify(text)}`, () => {
      const configuration = read({ ...files, 'plugin-server.ini': '[main]\na=json=a.json', 'a.json': text });
      expect(shown(configuration)).to.deep.equal(problems);
    });
  }

  for (const [parameterSections, cases] of [
    [[], ini],
    [['p'], parameters],
  ] as const) {
    for (const [text, value, ...problems] of cases) {
      it(`INI: ${JSON.stringify(text)}`, () => {
        const configuration = read({ ...files, 'plugin-server.ini': text }, { parameterSections });
        expect(shown(configuration)).to.deep.equal(problems);
        for (const [name, section] of Object.entries(value)) {
          // As JSON, without what could not be read.
          const found = JSON.parse(JSON.stringify(configuration.section(name)?.value));
          expect(found).to.deep.equal(JSON.parse(JSON.stringify(section)));
        }
      });
    }
  }
});
