import { expect } from 'chai';
import fc from 'fast-check';
import { startCookieApi } from '../../plugins/sessman/support/api.js';
import { Client } from '../support/client.js';
import type { Target } from '../target.js';

/** Pieces of what a Cookie header may have where a name stands; `NAME` is the cookie's. */
const nameLike = fc.oneof(
  { weight: 4, arbitrary: fc.constant('NAME') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...[
        'name',
        'NAMES',
        'xNAME',
        'NAM',
        '__Secure-NAME',
        '__Host-NAME',
        '"NAME"',
        'NAME NAME',
        'NAME,',
        '$NAME',
        'NAME[]',
      ],
      ...[
        '\xa0NAME',
        'NAME\xa0',
        '\x85NAME',
        '\xc2\xa0NAME',
        '\xefNAME',
        'a\xa0',
        '%50S_SESSID',
        '__proto__',
        'constructor',
        '',
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc
        .integer({ min: 0x21, max: 0xff })
        .filter((code) => code !== 0x7f)
        .map((code) => String.fromCharCode(code)),
      maxLength: 6,
    }),
  },
);

/** A value; a number stands for the id of that session: the first three live. */
const valueLike = fc.oneof(
  { weight: 4, arbitrary: fc.nat(11).map((which) => ({ which, around: ['', ''] as const })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.nat(11),
        fc.constantFrom(
          ['"', '"'],
          ['', 'x'],
          ['=', ''],
          ['', '='],
          ['\xa0', ''],
          ['', '\xa0'],
          [' ', '\t'],
          ['%', ''],
          ['', ' x'],
        ),
      )
      .map(([which, around]) => ({ which, around: around as readonly [string, string] })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', 'undefined', '[object Object]', '=', '"').map((text) => ({ text })),
  },
);
type ValueLike = { which: number; around: readonly [string, string] } | { text: string };

const header = fc.array(
  fc.record({
    name: nameLike,
    value: valueLike as fc.Arbitrary<ValueLike>,
    equals: fc.constantFrom('=', '=', '=', '=', ' = ', '', '=='),
    end: fc.constantFrom('; ', '; ', '; ', ';', ' ;', ';;', '\t;\t', ', '),
  }),
  { maxLength: 10 },
);

/** RFC 6265 section 4.2 read strictly: only blanks and tabs around a name or a value do not count. */
function valuesOf(cookie: string, name: string): string[] {
  const strip = (text: string) => text.replace(/^[ \t]+/, '').replace(/[ \t]+$/, '');
  return cookie.split(';').flatMap((pair) => {
    const equals = pair.indexOf('=');
    return equals >= 0 && strip(pair.slice(0, equals)) === name ? [strip(pair.slice(equals + 1))] : [];
  });
}

const target: Target = {
  name: 'cookies',
  property:
    'a Cookie header names a session exactly where one of its pairs has the name and the id of one live session, to the byte; whatever else is in it changes nothing',
  inputs: { long: 50_000, quick: 200 },
  async open() {
    const { api, login } = await startCookieApi({ cookie_secure: true });
    const client = new Client(api.server.url);
    const name = '__Host-PS_SESSID';
    const made = [await login('one'), await login('two'), await login('three')];
    const live = new Map(made.map(({ id, handle }) => [id, handle]));
    const odd = made.map(({ id }) => `${id.slice(0, 42)}${id.endsWith('B') ? 'C' : 'B'}`);
    const unknown = Array.from({ length: 6 }, (_, i) => `${'abcdef'[i]!.repeat(42)}A`);
    const ids = [...live.keys(), ...odd, ...unknown];
    const property = fc.asyncProperty(header, async (pairs) => {
      const cookie = pairs
        .map(({ name: like, value, equals, end }) => {
          const written = 'text' in value ? value.text : value.around.join(ids[value.which]);
          return like.replaceAll('NAME', name) + equals + written + end;
        })
        .join('');
      const { status, headers } = await client.get('/sessman/check', cookie === '' ? {} : { Cookie: cookie });
      const wellFormed = [...new Set(valuesOf(cookie, name))].filter((value) =>
        /^[\w-]{42}[AEIMQUYcgkosw048]$/.test(value),
      );
      // The server looks up no more than eight.
      const found = wellFormed.slice(0, 8).filter((value) => live.has(value));
      const expected = found.length === 1 ? live.get(found[0]!) : undefined;
      expect([status, headers['x-session-handle']]).to.deep.equal(
        expected === undefined ? [401, undefined] : [204, expected],
      );
    });
    return {
      property,
      async close() {
        client.close();
        await api.close();
      },
    };
  },
};

export const cookieTargets: readonly Target[] = [target];
