import { expect } from 'chai';
import { z } from 'zod';
import { addresses, hostNames, keys, list, origins } from '../../config/index.js';
import { read, sentences } from './memory.js';

/** A line and what it is read as, or what is said of it from its line on. */
type Case = readonly [line: string, is: unknown];

const cases: Readonly<Record<string, readonly [schema: z.ZodType, cases: readonly Case[]]>> = {
  addresses: [
    addresses(),
    [
      ['a=127.0.0.1', '127.0.0.1'],
      ['a=unix:/tmp/a b,c', 'unix:/tmp/a b,c'],
      ['a=list:127.0.0.1 ::1 unix:/x', ['127.0.0.1', '::1', 'unix:/x']],
      ['a=', '2:3: "a" in [s]: it is empty; write an address, such as 127.0.0.1'],
      ['a=list:', '2:3: "a" in [s]: it is empty; write an address, such as 127.0.0.1'],
      ['a=unix:', '2:3: "a" in [s]: has no path; write unix:PATH'],
      ['a=list:unix:', '2:8: "a[0]" in [s]: has no path; write unix:PATH'],
      ['a=127.0.0.1, ::1', '2:3: "a" in [s]: blanks separate the items of a list; write list:127.0.0.1 ::1'],
      ['a=127.0.0.1 ::1', ['127.0.0.1', '::1']],
      [
        'a=list:127.0.0.1,::1',
        '2:8: "a[0]" in [s]: blanks separate the items of a list; write list:127.0.0.1 ::1',
      ],
      ['a=127.0.0.1:80', '2:3: "a" in [s]: contains a port; write that in "port"'],
      ['a=[::1]:80', '2:3: "a" in [s]: contains a port; write that in "port"'],
      ['a=[::1]', '[::1]'],
      ['a=localhost:80', 'localhost:80'],
      ['a=x127.0.0.1:80x', 'x127.0.0.1:80x'],
      ['a=,', '2:3: "a" in [s]: blanks separate the items of a list; write blanks in its place'],
    ],
  ],
  hostNames: [
    hostNames(),
    [
      ['a=example.org', ['example.org']],
      ['a=EXAMPLE.org. *.Example.org', ['example.org', '*.example.org']],
      ['a=*', ['*']],
      ['a=* a', '2:3: "a" in [s]: contains "*", which already allows every host; write "*" alone'],
      ['a=list:', '2:3: "a" in [s]: it is empty; write a host name, or remove it'],
      ['a=10.0.0.1 [::1] FE80::1', ['10.0.0.1', '::1', 'fe80::1']],
      ['a=a:80 b.:8', ['a', 'b']],
      ['a=a,b', '2:3: "a[0]" in [s]: a comma does not separate items; write list:a b'],
      ['a=,', '2:3: "a[0]" in [s]: a comma does not separate items; write blanks in its place'],
      ['a=a/b', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=*.', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=**.a', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=münchen.de', ['xn--mnchen-3ya.de']],
      ['a=a b:x', '2:3: "a[1]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=a%41', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=*.*.a', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
      ['a=[a]', '2:3: "a[0]" in [s]: is not a host name; write example.org, *.example.org or an address'],
    ],
  ],
  keys: [
    keys(),
    [
      ['a=k', 'k'],
      ['a=k l', 'k l'],
      ['a=list:k l', ['k', 'l']],
      ['a=', '2:3: "a" in [s]: it is empty; write a key, or remove it'],
      ['a=list:', '2:3: "a" in [s]: it is empty; write a key, or remove it'],
      ['a=k,l', '2:3: "a" in [s]: a comma does not separate items; write list:k l'],
      ['a=,', '2:3: "a" in [s]: a comma does not separate items; write blanks in its place'],
      ['a=list:a,b c', '2:8: "a[0]" in [s]: a comma does not separate items; write list:a b'],
    ],
  ],
  list: [
    list(),
    [
      ['a=a  b\tc', ['a', 'b', 'c']],
      ['a=list:a b', ['a', 'b']],
      ['a=', []],
      ['a=  a ', ['a']],
    ],
  ],
  origins: [
    origins(),
    [
      ['a=http://a', ['http://a']],
      ['a=https://A:443/', ['https://a']],
      ['a=app://X.y', ['app://x.y']],
      [
        'a=htp://a',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      [
        'a=http://:80',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      [
        'a=xhttp://a',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      [
        'a=httpx://a',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      [
        'a=http://a:99999',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      ['a=http://a b://c', ['http://a', 'b://c']],
      [
        'a=http://a,http://b',
        '2:3: "a[0]" in [s]: a comma does not separate items; write list:http://a http://b',
      ],
      ['a=* http://a', '2:3: "a" in [s]: contains "*", which already allows every origin; write "*" alone'],
      [
        'a=https',
        '2:3: "a[0]" in [s]: is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org',
      ],
      ['a=capacitor://localhost', ['capacitor://localhost']],
    ],
  ],
};

for (const [kind, [schema, all]] of Object.entries(cases)) {
  describe(`a key that takes ${kind}`, () => {
    for (const [line, is] of all) {
      it(line, () => {
        const configuration = read(`[s]\n${line}`);
        const value = configuration.read('s', z.strictObject({ a: schema }));
        const [problem] = sentences(configuration).map((text) => text.replace('plugin-server.ini:', ''));
        expect(problem ?? value?.a).to.deep.equal(is);
      });
    }
  });
}
