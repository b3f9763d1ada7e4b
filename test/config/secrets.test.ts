import { expect } from 'chai';
import fc from 'fast-check';
import { z } from 'zod';
import { type Configuration, integer } from '../../config/index.js';
import { type Files, printed, read } from './memory.js';

const schema = z
  .object({
    password: z.int().optional(),
    apiKey: z.string().max(3).optional(),
    pin_code: z.int().optional().meta({ secret: true }),
    url: z
      .string()
      .refine((url) => url.length < 5, { error: (issue) => `${issue.input} is too long` })
      .optional(),
    credentials: z.object({ user: z.int(), word: z.int() }).optional(),
    list: z.array(z.int()).optional(),
    two: z.string().optional(),
    api_token: z.string().optional(),
    token: z.string().optional(),
  })
  .refine(({ two }) => two === undefined, { error: ({ input }) => `${JSON.stringify(input)} is not good` });

/** Everything that is printed about a configuration, its plugin `p` checked against the schema above. */
function output(files: Files | string, env = {}): string {
  const configuration = read(files, { env });
  const line = configuration.section('plugin_parms')?.fields?.get('p');
  if (line) configuration.check(line, schema, 'p');
  return printed(configuration).join('\n');
}

const json = (text: string) => ({ 'plugin-server.ini': '[plugin_parms]\np=json=p.json', 'p.json': text });

describe('secrets in what is printed', () => {
  const secret = 'hunter2!';
  const leaks: Record<string, Files | string> = {
    'a key given twice': `[a]\npassword=1\npassword=${secret}`,
    'a key before the first section': `db_passwd=${secret}`,
    'a colon in place of "="': `[a]\nsecret: ${secret}`,
    'a blank in place of "="': `[a]\ntoken ${secret}`,
    'the rest of a secret in the next line': `[a]\npassword=1\n  ${secret}\n  ${secret}`,
    'the rest of a secret, with "="': `[a]\npassword=1\n  =${secret}`,
    'a value in another language of types': `[a]\napi-key=int:${secret}`,
    'a reference in it that is not closed': `[a]\npassword=${secret}\${x`,
    'a reference in it that leads nowhere': `[a]\npassword=${secret}\${x}${secret}`,
    'what is hardly meant for a reference in it': `[a]\npassword=x\${y:${secret}}`,
    'a default in it': `[a]\npassword=\${x}\${ENV:X:-${secret}}`,
    'a default of a secret variable': `[a]\ntext=\${x}\${ENV:DB_PASSWORD:-${secret}}`,
    'a list of secrets': `[a]\napikeys=list:${secret} list:x ${secret}`,
    'a password in a URL': `[a]\nurl=mongodb://user:${secret}@host/\${x}`,
    'a token in a URL': `[a]\nurl=http://host/?a=1&token=${secret}&b=\${x}`,
    'one behind a blank in a text': `[a]\ntext=user=me pw=${secret}\${x}`,
    'one that begins as another does, in a message of the schema': `[plugin_parms]\np=two=x&api_token=abc&token=abc${secret}`,
    'one among parameters': `[plugin_parms]\np=a=\${x}&password=${secret}&b=2`,
    'one among parameters that holds "&"': `[plugin_parms]\np=password=a&${secret}`,
    'one in another section that a secret refers to': `[main]\nword=${secret}\${x}\n[a]\npassword=\${main:word}`,
    'a value of the wrong type': `[plugin_parms]\np=password=${secret}`,
    'a value that came by reference': `[main]\npassword=${secret}\n[plugin_parms]\np=list=list:\${main:password}`,
    'a value into which one was put': `[main]\npassword=${secret}\n[plugin_parms]\np=url=http://\${main:password}/`,
    'a value that a schema says is one': `[plugin_parms]\np=pin_code=${secret}`,
    'a value that a schema says is one, of another type': `[plugin_parms]\np=pin_code=int:${secret}`,
    'what is hardly meant for a reference in one that only a schema says is one': `[plugin_parms]\np=pin_code=int:\${,#${secret}}`,
    'a message of the schema': `[plugin_parms]\np=url=mongodb://u:${secret}@host`,
    'JSON of the wrong type': json(`{"password": "${secret}"}`),
    'JSON that is too long': json(`{"apiKey": "${secret}"}`),
    'a JSON object under a secret name': json(
      `{"credentials": {\n"user": "${secret}", "word": "${secret}"}}`,
    ),
    'JSON in a file that holds a secret': {
      'plugin-server.ini': '[s]\ncredentials=json=c.json',
      'c.json': `{"a": "${secret}", "a": "${secret}"}`,
    },
    'JSON in a message of the schema': json(`{"url": "mongodb://u:${secret}@h"}`),
    'JSON with a key given twice': json(`{"password": 1, "password": "${secret}"}`),
    'JSON without a comma': json(`{"password": "${secret}" "a": 1}`),
    'JSON without a colon': json(`{"password" "${secret}", "a": 1}`),
    'JSON without quotes': json(`{"password": ${secret}}`),
    'JSON in which a quote is missing': json(`{"password": "${secret}, "a": 1}`),
    'JSON in which a quote is too much': json(`{"password": "a"${secret}", "a": 1}`),
    'JSON in which a quote is too much, and a comma in the secret': json(
      `{"password": "a"x,${secret}", "a": 1}`,
    ),
    'JSON with its keys unquoted': json(`{password: "${secret}"}`),
    'JSON with the key misspelt': json(`{"pasword": "${secret}"}`),
    'parameters with the key misspelt': `[plugin_parms]\np=pincode=${secret}&passwrd=${secret}`,
    'JSON with its value in the next line': json(`{"password":\n"${secret}" 1}`),
  };
  for (const [what, files] of Object.entries(leaks)) {
    it(`are masked: ${what}`, () => {
      const text = output(files);
      expect(text).not.to.equal('');
      expect(text).not.to.contain(secret).and.not.to.contain('hunter2');
    });
  }

  it('are masked when they come from the environment', () => {
    const text = output('[plugin_parms]\np=list=list:${ENV:API_TOKEN} 5', { API_TOKEN: secret });
    expect(text).to.contain('"list[0]" in p must be an integer, but is text');
    expect(text).not.to.contain(secret);
  });

  it('are masked in the name of a JSON file, and only there', () => {
    expect(output('[main]\nword=json=a${ENV:MY_TOKEN}.json', { MY_TOKEN: secret })).to.contain(
      'the file *** does not exist; looked for *** and ***',
    );
    expect(output('[main]\ncredentials=json=c.json')).to.contain('the file "c.json" does not exist');
  });

  it('leave the caret where it belongs', () => {
    expect(output('[plugin_parms]\np=password=abcdefghijkl&prot=int:x')).to.contain(
      ['2 | p=password=***&prot=int:x', '  |                         ^'].join('\n'),
    );
    expect(output('[a]\npassword=abcdefghijkl${x}')).to.contain(
      ['2 | password=***${x}', '  |             ^^^^'].join('\n'),
    );
    expect(output('[plugin_parms]\np=pin_code=abcdef&url=x')).to.contain(
      ['2 | p=pin_code=***&url=x', '  |            ^^^'].join('\n'),
    );
  });

  it('are what names say, and not what only tells about secrets', () => {
    const masked = (key: string) => output(`[a]\n${key}=visible\${x}`).includes('***');
    for (const key of [
      'PASSWORD',
      'dbPassword',
      'smtp_passwd',
      'X-Api-Key',
      'apikeys',
      'private key',
      'pasword',
      'pw',
      'AuthToken',
    ])
      expect(masked(key), key).to.equal(true);
    for (const key of [
      'token_ttl',
      'password_file',
      'keyfile',
      'key',
      'compass',
      'secret_name',
      'pinned',
      'author',
      'author',
      'passed',
      'tokens_count',
    ])
      expect(masked(key), key).to.equal(false);
  });

  it('are all that is masked', () => {
    for (const [files, shown] of [
      ['[a]\ntext=${x}${ENV:HOST:-visible}', 'visible'],
      ['[a]\npassword=x\n[b]\nvisible words', 'visible words'],
      ['[a]\npassword=x\nb=1\nvisible words', 'visible words'],
      ['[a]\nurl=http://u:@visible/${x}', '@visible'],
    ] as const)
      expect(output(files), files).to.contain(shown);
  });

  it('stay secret whatever they are', () => {
    const word = fc.stringMatching(/^[A-Z#;="'\\@:,{}$ [\]]{6,12}$/).filter((text) => text.trim() === text);
    const places: [before: string, after: string][] = [
      ['p=a=${x}&password=', ''],
      ['p=a=${x}&password=', '&b=1'],
      ['p=url=http://u:', '@host/'],
      ['p=pin_code=int:', ''],
      ['password: ', ''],
    ];
    fc.assert(
      fc.property(word, fc.constantFrom(...places), (text, [before, after]) => {
        // What reads as a reference is one, and is shown.
        fc.pre(!/\$\{[\w.: -]+\}/.test(text));
        expect(output(`[plugin_parms]\n${before}${text}${after}`)).not.to.contain(text);
      }),
      { numRuns: 1000 },
    );
  });

  it('are known as such to the reader of a value', () => {
    const configuration: Configuration = read(
      '[main]\npassword=x\nurl=http://u:${password}@h\nport=1\nother=${url}',
    );
    const flags = ['password', 'url', 'port', 'other'].map(
      (key) => configuration.locate(['main', key])?.secret,
    );
    expect(flags).to.deep.equal([true, true, false, true]);
    const texts: Record<string, boolean> = {
      '${password}-${port}': true,
      '${port}-${password}': true,
      '${port}-${port}': false,
      'list:${password} ${port}': true,
      'list:${port} ${password}': true,
      'list:${port} x': false,
      'http://u:@h': false,
      'http://u:p@h': true,
    };
    for (const [text, isSecret] of Object.entries(texts)) {
      const one = read(`[main]\npassword=x\nport=1\none=${text}`);
      expect(one.locate(['main', 'one'])?.secret, text).to.equal(isSecret);
    }
    configuration.read('main', z.looseObject({ port: integer().meta({ secret: true }) }));
    expect(configuration.locate(['main', 'port'])?.secret).to.equal(true);
  });
});
