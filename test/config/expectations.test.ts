import { expect } from 'chai';
import { z } from 'zod';
import { read, sentences } from './memory.js';

/** A schema, the line under [s], and all that is said of it. */
const cases: readonly (readonly [schema: z.ZodType, line: string, ...problems: string[]])[] = [
  [z.email(), 'a=?', '2:3: "a" in [s] must be an e-mail address'],
  [z.uuid(), 'a=?', '2:3: "a" in [s] must be a UUID'],
  [z.ipv4(), 'a=?', '2:3: "a" in [s] must be an IPv4 address'],
  [z.ipv6(), 'a=?', '2:3: "a" in [s] must be an IPv6 address'],
  [z.hostname(), 'a=?', '2:3: "a" in [s] must be a host name'],
  [z.iso.datetime(), 'a=?', '2:3: "a" in [s] must be a date and time such as 2025-01-31T12:00:00Z'],
  [z.iso.time(), 'a=?', '2:3: "a" in [s] must be a time such as 12:00:00'],
  [z.iso.duration(), 'a=?', '2:3: "a" in [s] must be a duration such as PT5M'],
  [z.url(), 'a=?', '2:3: "a" in [s] must be a URL'],
  [z.string().regex(/^a+$/), 'a=?', '2:3: "a" in [s] must match /^a+$/'],
  [z.base64(), 'a=?', '2:3: "a" in [s] must be valid base64'],
  [z.cidrv4(), 'a=?', '2:3: "a" in [s] must be valid cidrv4'],
  [z.string().startsWith('x'), 'a=?', '2:3: "a" in [s] must start with "x"'],
  [z.string().endsWith('x'), 'a=?', '2:3: "a" in [s] must end with "x"'],
  [z.string().includes('x'), 'a=?', '2:3: "a" in [s] must contain "x"'],
  [
    z.tuple([z.string(), z.string()]),
    'a=x',
    '2:3: "a" in [s] must be a list, but is the text "x"; write a=list:x',
  ],
  [
    z.record(z.string(), z.number()),
    'a=x',
    '2:3: "a" in [s] must be an object, but is the text "x"; write a=json=FILE',
  ],
  [z.int(), 'a=x', '2:3: "a" in [s] must be an integer, but is the text "x"; write a=int:1'],
  [z.number(), 'a=5.5', '2:3: "a" in [s] must be a number, but is the text "5.5"; write a=float:5.5'],
  [z.number().int(), 'a=float:5.5', '2:3: "a" in [s] must be an integer, but is 5.5; write a=int:1'],
  [z.boolean(), 'a=yes', '2:3: "a" in [s] must be true or false, but is the text "yes"; write a=bool:yes'],
  [z.string(), 'a=int:5', '2:3: "a" in [s] must be text, but is 5; write a=5'],
  [z.string(), 'a=bool:on', '2:3: "a" in [s] must be text, but is true; write a=true'],
  [z.array(z.string()), 'a=x', '2:3: "a" in [s] must be a list, but is the text "x"; write a=list:x'],
  [z.literal('x'), 'a=y', '2:3: "a" in [s] must be "x", but is the text "y"'],
  [z.enum(['x', 'y']), 'a=z', '2:3: "a" in [s] must be "x" or "y", but is the text "z"'],
  [
    z.union([z.int(), z.boolean()]),
    'a=zz',
    '2:3: "a" in [s] must be an integer or true or false, but is the text "zz"; write a=int:1',
  ],
  [z.int().multipleOf(5), 'a=int:7', '2:3: "a" in [s] must be a multiple of 5, but is 7'],
  [z.int().min(3), 'a=int:1', '2:3: "a" in [s] must be at least 3, but is 1'],
  [z.int().max(3), 'a=int:7', '2:3: "a" in [s] must be at most 3, but is 7'],
  [z.number().gt(3), 'a=int:3', '2:3: "a" in [s] must be more than 3, but is 3'],
  [z.number().lt(3), 'a=int:3', '2:3: "a" in [s] must be less than 3, but is 3'],
  [z.string().length(3), 'a=x', '2:3: "a" in [s] must have exactly 3 characters'],
  [z.string().min(2), 'a=x', '2:3: "a" in [s] must have at least 2 characters'],
  [z.string().max(2), 'a=xxx', '2:3: "a" in [s] must have at most 2 characters'],
  [z.array(z.string()).min(2), 'a=list:x', '2:3: "a" in [s] must have at least 2 items'],
  [z.array(z.string()).max(1), 'a=list:x y', '2:3: "a" in [s] must have at most 1 item'],
  [z.array(z.string()).length(1), 'a=list:x y', '2:3: "a" in [s] must have exactly 1 item'],
  [
    z.string(),
    'b=1\na=int:${b}',
    '2:1: unknown key "b" in [s]; known key: a',
    '3:3: "a" in [s] must be text, but is 1; write a=TEXT',
  ],
  [
    z.array(z.int()),
    'a=list:x 5',
    '2:8: "a[0]" in [s] must be an integer, but is the text "x"; write int:1',
    '2:10: "a[1]" in [s] must be an integer, but is the text "5"; write int:5',
  ],
  [
    z.array(z.int()),
    'a=list:5,6',
    '2:8: "a[0]" in [s] must be an integer, but is the text "5,6"; separate the items of a list with blanks, such as list:int:1 int:2',
  ],
  [
    z.array(z.string()),
    'a=http://x,http://y',
    '2:3: "a" in [s] must be a list, but is the text "http://x,http://y"; write a=list:http://x http://y',
  ],
  [z.array(z.string()), 'a=', '2:3: "a" in [s] must be a list, but is the text ""; write a=list:TEXT'],
  [
    z.array(z.string().regex(/^\w+$/, 'write a word')),
    'a=list:x,y',
    '2:8: "a[0]" in [s]: write a word; or separate the items with blanks: list:x y',
  ],
  [
    z.array(z.enum(['x', 'y'])),
    'a=list:x,y',
    '2:8: "a[0]" in [s] must be "x" or "y", but is the text "x,y"; or separate the items with blanks: list:x y',
  ],
  [
    z.array(z.string().regex(/^\w+$/, 'write a word')).meta({ secret: true }),
    'a=list:x,y',
    '2:8: "a[0]" in [s]: write a word; separate the items with blanks',
  ],
  [z.int().optional(), 'a=x', '2:3: "a" in [s] must be an integer, but is the text "x"; write a=int:1'],
  [z.int().optional(), 'aa=1', '2:1: unknown key "aa" in [s]; did you mean "a"?'],
  [z.int().optional(), 'zzz=1', '2:1: unknown key "zzz" in [s]; known key: a'],
  [z.int(), '', '1:2: "a" in [s] is missing; write a=int:1'],
  [z.string(), '', '1:2: "a" in [s] is missing; write a=TEXT'],
  [z.array(z.int()), '', '1:2: "a" in [s] is missing; write a=list:int:1'],
  [z.object({ x: z.int(), y: z.string().optional() }), '', '1:2: "a" in [s] is missing; write a=json=FILE'],
  [z.record(z.string(), z.string()), '', '1:2: "a" in [s] is missing; write a=json=FILE'],
  [z.enum(['p', 'q']), '', '1:2: "a" in [s] is missing; write a=p'],
  [z.array(z.array(z.int())), '', '1:2: "a" in [s] is missing; write a=json=FILE'],
  [z.boolean(), '', '1:2: "a" in [s] is missing; write a=bool:true'],
  [z.int().min(7), '', '1:2: "a" in [s] is missing; write a=int:7'],
  [z.string().meta({ example: 'EX' }), '', '1:2: "a" in [s] is missing; write a=EX'],
  [z.array(z.string().default('d')), '', '1:2: "a" in [s] is missing; write a=list:d'],
];

describe('what is said of a value that its schema refuses', () => {
  for (const [schema, line, ...problems] of cases) {
    it(problems.join(', '), () => {
      const configuration = read(`[s]\n${line}`);
      configuration.read('s', z.strictObject({ a: schema }));
      expect(sentences(configuration).map((text) => text.replace('plugin-server.ini:', ''))).to.deep.equal(
        problems,
      );
    });
  }
});
