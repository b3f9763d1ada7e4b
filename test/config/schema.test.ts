import { expect } from 'chai';
import { z } from 'zod';
import {
  boolean,
  choice,
  decimal,
  describeKeys,
  integer,
  type Located,
  list,
  splitKeys,
  text,
} from '../../config/index.js';
import { read, sentences } from './memory.js';

describe("the host's own kinds of keys", () => {
  const section = z.strictObject({
    port: integer({ min: 0, max: 65535 }),
    ratio: decimal(),
    on: boolean(),
    names: list(),
    ports: list(integer()),
    level: choice(['info', 'warn']),
    name: text(),
  });
  const expected = {
    port: 5,
    ratio: 0.5,
    on: true,
    names: ['a', 'b'],
    ports: [1, 2],
    level: 'info',
    name: 'n',
  };

  it('take what is written plainly', () => {
    const configuration = read('[s]\nport=5\nratio=0.5\non=Yes\nnames= a  b\nports=1 2\nlevel=info\nname=n');
    expect(configuration.read('s', section)).to.deep.equal(expected);
  });

  it('take what is written with a prefix', () => {
    const configuration = read(
      '[s]\nport=int:5\nratio=float:0.5\non=bool:1\nnames=list:a b\nports=list:int:1 2\nlevel=info\nname=n',
    );
    expect(configuration.read('s', section)).to.deep.equal(expected);
  });

  it('are described for reference pages', () => {
    const described = describeKeys(
      z.object({
        port: integer({ min: 0, max: 65535 })
          .default(6123)
          .meta({ description: 'the port', aliases: ['listen'] }),
        workers: z.union([integer({ min: 1 }), z.literal('auto')]),
        level: choice(['info', 'warn']).optional(),
      }),
    );
    expect(described).to.deep.equal([
      {
        name: 'port',
        kinds: ['an integer'],
        minimum: 0,
        maximum: 65535,
        default: 6123,
        meta: { description: 'the port', aliases: ['listen'] },
      },
      { name: 'workers', kinds: ['an integer', '"auto"'], minimum: 1, default: undefined, meta: {} },
      { name: 'level', kinds: ['"info"', '"warn"'], default: undefined, meta: {} },
    ]);
  });
});

describe('checking against a schema', () => {
  it('gives what the schema makes of the section, defaults and transformations included', () => {
    const schema = z.object({ a: z.string().transform((value) => value.length), b: z.int().default(5) });
    expect(read('[s]\na=xyz').read('S', schema)).to.deep.equal({ a: 3, b: 5 });
  });

  it('matches keys without case, and keeps the case of those that the schema leaves open', () => {
    const configuration = read('[s]\nMAXAGE=int:5\nX-Header=a\n/Path=b');
    expect(configuration.read('s', z.object({ maxAge: z.int() }).catchall(z.string()))).to.deep.equal({
      maxAge: 5,
      'X-Header': 'a',
      '/Path': 'b',
    });
    expect(configuration.problems).to.deep.equal([]);
  });

  it('knows keys by their other names', () => {
    const schema = z.object({
      plugins: z.string().meta({ aliases: ['pluginpath'] }),
      data: z.int().optional(),
    });
    expect(read('[s]\nPluginPath=x').read('s', schema)).to.deep.equal({ plugins: 'x' });
    const both = read('[s]\npluginpath=x\nplugins=y');
    expect(both.read('s', schema)).to.equal(undefined);
    expect(sentences(both)).to.deep.equal([
      'plugin-server.ini:3:1: "pluginpath" and "plugins" are names of one key, and both are given; remove one of the two',
    ]);
  });

  it('counts a section that is not there as an empty one', () => {
    expect(read('').read('s', z.object({ a: z.string().default('x') }))).to.deep.equal({ a: 'x' });
  });

  it('says nothing of keys that are read elsewhere, and suggests them', () => {
    const schema = z.strictObject({ greeting: z.string().optional() });
    const configuration = read('[plugin_parms]\np=route_path=x&greeting=hi&route_pth=y');
    const line = configuration.locate(['plugin_parms', 'p'])!;
    configuration.check(line, schema, 'p', { alsoKnown: ['route_path'] });
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:2:28: unknown key "route_pth" in p; did you mean "route_path"?',
    ]);
  });

  it('lets a schema that is loose be loose', () => {
    const configuration = read('[s]\nany=thing\nport=1');
    expect(configuration.read('s', z.looseObject({ port: z.string() }))).to.deep.equal({
      any: 'thing',
      port: '1',
    });
    expect(configuration.read('s', z.record(z.string(), z.string()))).to.deep.equal({
      any: 'thing',
      port: '1',
    });
    expect(configuration.problems).to.deep.equal([]);
  });

  it('finds unknown keys in intersections and unions by what all of their parts know', () => {
    const configuration = read('[s]\na=1\nb=2\nc=3');
    const [a, b] = [z.object({ a: z.string() }), z.object({ b: z.string() })];
    configuration.read('s', z.intersection(a, b));
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:4:1: unknown key "c" in [s]; known keys: a, b',
    ]);
  });

  it('takes any key where one part of a union is loose', () => {
    const [a, b] = [z.object({ a: z.string() }), z.looseObject({ b: z.string() })];
    const configuration = read({
      'plugin-server.ini': '[s]\nd=json=d.json',
      'd.json': '{"a": "x", "b": "y", "other": 1}',
    });
    configuration.read('s', z.union([z.object({ d: a }), z.object({ d: b })]));
    expect(sentences(configuration)).to.deep.equal([]);
  });

  it('looks for keys that are read elsewhere at the top alone', () => {
    const schema = z.object({ deep: z.object({ a: z.int().optional() }).optional() });
    const configuration = read({
      'plugin-server.ini': '[plugin_parms]\np=json=p.json',
      'p.json': '{"route_path": "x", "deep": {"route_path": "x"}}',
    });
    configuration.check(configuration.locate(['plugin_parms', 'p']), schema, 'p', {
      alsoKnown: ['route_path'],
    });
    expect(configuration.problems.map(({ position }) => position.column)).to.deep.equal([30]);
  });

  it('explains a union by the part that has the least wrong', () => {
    const parts = [
      z.object({ a: z.int(), b: z.int() }),
      z.object({ a: z.string(), c: z.string() }),
      z.object({ x: z.int(), y: z.int(), z: z.int() }),
    ] as const;
    for (const options of [parts, parts.toReversed()]) {
      const configuration = read({ 'plugin-server.ini': '[s]\nv=json=v.json', 'v.json': '{"a": "x"}' });
      configuration.read('s', z.object({ v: z.union(options) }));
      expect(sentences(configuration)).to.have.length(1);
      expect(sentences(configuration)[0]).to.contain('"v.c"');
    }
  });

  it('lists up to 12 keys that there are, and shows names of up to 60 characters', () => {
    const problem = (count: number, name: string) => {
      const keys = Array.from({ length: count }, (_, n) => [`key_${n}`, z.string().optional()] as const);
      const configuration = read(`[s]\n${name}=1`);
      configuration.read('s', z.object(Object.fromEntries(keys)));
      return sentences(configuration).join();
    };
    expect(problem(12, 'other')).to.contain('key_11').and.not.to.contain('…');
    expect(problem(13, 'other')).to.contain('key_11').and.to.contain('…').and.not.to.contain('key_12');
    expect(problem(1, 'x'.repeat(60))).to.contain('x'.repeat(60));
    expect(problem(1, 'x'.repeat(61))).to.contain(`${'x'.repeat(59)}…`);
  });

  it('gives the default of a key in whose value something could not be read', () => {
    const configuration = read({
      'plugin-server.ini': '[s]\nhosts=json=hosts.json\nport=5',
      'hosts.json': '{"a": "${ENV:NONE}"}',
    });
    const hosts = z.object({ a: z.string().optional() }).default({ a: 'localhost' });
    const { value, wrong } = configuration.readSound(
      's',
      z.object({ hosts, port: integer().default(80), ratio: decimal().default(0.5) }),
    );
    expect(value).to.deep.equal({ hosts: { a: 'localhost' }, port: 5, ratio: 0.5 });
    expect([...wrong]).to.deep.equal(['hosts']);
  });

  it('takes schemas that hold themselves', () => {
    interface Tree {
      name: string;
      children?: Tree[] | undefined;
    }
    const tree: z.ZodType<Tree> = z.lazy(() =>
      z.object({ name: z.string(), children: z.array(tree).optional() }),
    );
    const configuration = read({
      'plugin-server.ini': '[s]\ntree=json=tree.json',
      'tree.json': '{"name": "a", "children": [{"name": "b", "children": [{"nmae": "c"}]}, 5]}',
    });
    configuration.read('s', z.object({ tree, other: tree }));
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:1:2: "other" in [s] is missing; write other=json=FILE',
      'tree.json:1:56: unknown key "nmae" in "tree.children[0].children[0]" of [s]; did you mean "name"?',
      'tree.json:1:72: "tree.children[1]" in [s] must be an object, but is 5; write {"name":"TEXT"}',
    ]);
  });

  it('has a sentence for every kind of issue', () => {
    const sentence = (schema: z.ZodType, json: string) => {
      const configuration = read({ 'plugin-server.ini': '[s]\nv=json=v.json', 'v.json': json });
      configuration.read('s', z.object({ v: schema }));
      return sentences(configuration).map((text) => text.replace(/^v.json:1:/, ''));
    };
    const words = z.string().regex(/^[a-z]+$/);
    expect(sentence(z.number().gt(5), '5')).to.deep.equal(['1: "v" in [s] must be more than 5, but is 5']);
    expect(sentence(z.number().lt(5), '5')).to.deep.equal(['1: "v" in [s] must be less than 5, but is 5']);
    expect(sentence(z.array(z.int()).max(1), '[1, 2]')).to.deep.equal([
      '1: "v" in [s] must have at most 1 item',
    ]);
    expect(sentence(z.string().endsWith('/'), '"a"')).to.deep.equal(['1: "v" in [s] must end with "/"']);
    expect(sentence(z.string().includes('@'), '"a"')).to.deep.equal(['1: "v" in [s] must contain "@"']);
    expect(sentence(z.cidrv4(), '"a"')).to.deep.equal(['1: "v" in [s] must be valid cidrv4']);
    expect(sentence(z.literal([1, 2]), '3')).to.deep.equal(['1: "v" in [s] must be 1 or 2, but is 3']);
    expect(sentence(z.null(), '3')).to.deep.equal([
      '1: "v" in [s] must be null, but is 3; write "v": "TEXT"',
    ]);
    expect(sentence(z.string(), 'null')).to.deep.equal([
      '1: "v" in [s] must be text, but is null; write "v": "TEXT"',
    ]);
    expect(sentence(z.boolean(), '{}')).to.deep.equal([
      '1: "v" in [s] must be true or false, but is an object; write "v": true',
    ]);
    expect(
      sentence(
        z.custom((v) => v === 1),
        '3',
      ),
    ).to.deep.equal(['1: "v" in [s] is not valid']);
    expect(sentence(z.record(words, z.int()), '{"A": 1}')).to.deep.equal([
      '7: "v.A" in [s] is not allowed as a key',
    ]);
    expect(sentence(z.record(z.enum(['ab', 'cd']), z.int()), '{"ab": 1, "ce": 2, "cd": 3}')).to.deep.equal([
      '11: unknown key "ce" in "v" of [s]; did you mean "cd"?',
    ]);
    expect(sentence(z.object({}), '{"a": 1}')).to.deep.equal(['2: unknown key "a" in "v" of [s]; remove it']);
    expect(sentence(z.tuple([z.int(), z.string()]), '[1, 2]')).to.deep.equal([
      '5: "v[1]" in [s] must be text, but is 2; write "2"',
    ]);
    expect(sentence(z.object({ a: z.enum(['x', 'y']) }), '{}')).to.deep.equal([
      '1: "v.a" in [s] is missing; write "a": "x"',
    ]);
  });

  it('puts what a schema says of the whole at its section or line', () => {
    const schema = z
      .object({ a: z.string().optional(), b: z.string().optional() })
      .refine(({ a, b }) => (a === undefined) !== (b === undefined), 'give either a or b');
    const configuration = read('[s]\na=1\nb=2\n[plugin_parms]\np=a=1&b=2');
    configuration.read('s', schema);
    configuration.check(configuration.locate(['plugin_parms', 'p']), schema, 'p');
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:1:2: [s]: give either a or b',
      'plugin-server.ini:5:3: p: give either a or b',
    ]);
  });

  it('makes a problem of a schema that throws, gives a promise, or is of another library', () => {
    const configuration = read('[a]\nx=1\n[b]\nx=1\n[c]\nx=1');
    const fails = (): never => {
      throw new Error('out of order\nat some place');
    };
    configuration.read('a', z.object({ x: z.string().transform(fails) }));
    configuration.read('b', z.object({ x: z.string().refine(async () => true) }));
    configuration.read('c', { parse: () => 1 } as unknown as z.ZodType);
    const [a, b, c] = sentences(configuration);
    expect(a).to.equal(
      'plugin-server.ini:1:2: the schema for [a] failed: out of order; a schema checks at once, and reports what is wrong without throwing',
    );
    expect(b).to.match(
      /^plugin-server.ini:3:2: the schema for \[b\] failed: .*Promise.*; a schema checks at once/,
    );
    expect(c).to.equal(
      'plugin-server.ini:5:2: the schema for [c] is not a schema of zod 4; create it with the z of this package',
    );
  });

  it('adds problems of its caller in their place', () => {
    const configuration = read('[s]\na=1\nb=2\nc');
    configuration.report(configuration.locate(['s', 'b'])!, 'b is bad', 'mend it');
    configuration.report(configuration.locate(['s', 'a'])!, 'a is bad');
    configuration.report({ file: '/plugins/x.ts', line: 3, column: 4 }, 'elsewhere');
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:2:3: a is bad',
      'plugin-server.ini:3:3: b is bad; mend it',
      'plugin-server.ini:4:1: "=" is missing; write key=value, on one line',
      'x.ts:3:4: elsewhere',
    ]);
  });
});

describe('splitKeys', () => {
  it('takes some keys of a line apart, in any case', () => {
    const line = read('[plugin_parms]\np=Route_Path=x&a=1').locate(['plugin_parms', 'p']) as Located;
    const { taken, rest } = splitKeys(line, ['route_path', 'enabled']);
    expect(taken.value).to.deep.equal({ Route_Path: 'x' });
    expect(rest.value).to.deep.equal({ a: '1' });
    expect(rest.position).to.deep.equal(line.position);
  });
});
