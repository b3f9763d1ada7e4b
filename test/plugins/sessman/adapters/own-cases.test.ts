import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import fastifyCookie from '@fastify/cookie';
import fastifySession from '@fastify/session';
import { expect } from 'chai';
import { type FastifyRequest, fastify } from 'fastify';
import Koa, { type Context } from 'koa';
import session from 'koa-session';
import { SessmanStore as FastifyStore } from '../../../../plugins/sessman/adapters/fastify.js';
import { SessmanStore as KoaStore } from '../../../../plugins/sessman/adapters/koa.js';
import { type Api, startApi } from '../support/api.js';

/** What an application answered. */
interface Answer {
  readonly status: number;
  readonly text: string;
  /** Undefined where it sets none. */
  readonly cookie: string | undefined;
}

const KEY = 'the key of the test';

// What koa-session 7 and @fastify/session 11 test of themselves with a store, in our words.
describe("the middlewares' own cases, with sessman as their store", () => {
  let sessman: Api;
  let base: { base_url: string; auth: string };
  before(async () => {
    sessman = await startApi({}, { ini: `[auth]\napikey=${KEY}\n` });
    base = { base_url: `${sessman.server.url}/sessman`, auth: KEY };
  });
  after(() => sessman?.close());

  const ask = async (url: string, cookie?: string): Promise<Answer> => {
    const response = await fetch(url, { headers: { Connection: 'close', ...(cookie && { cookie }) } });
    const set = response.headers.getSetCookie().filter((line) => !line.startsWith('other='));
    return {
      status: response.status,
      text: await response.text(),
      cookie: set.length === 0 ? undefined : set.join('; '),
    };
  };
  /** The cookies that a browser sends after that answer. */
  const kept = ({ cookie = '' }: Answer) =>
    (cookie.match(/(?:^|; )((?:koa[.:]sess|sessionId)[^=]*=[^;]*)/g) ?? [])
      .map((pair) => pair.replace(/^; /, ''))
      .join('; ');

  describe('koa-session', () => {
    const closers: (() => void)[] = [];
    afterEach(() => {
      for (const close of closers.splice(0)) close();
    });
    const start = async (
      handle: (ctx: Context) => unknown,
      options: object = {},
      around: (app: Koa) => void = () => {},
    ): Promise<string> => {
      const store = new KoaStore(base);
      const app = new Koa();
      app.keys = ['a', 'b'];
      app.silent = true;
      around(app);
      app.use(session({ store, ...options } as never, app));
      app.use(async (ctx) => {
        await handle(ctx);
      });
      const server = app.listen(0, '127.0.0.1');
      await once(server, 'listening');
      closers.push(() => {
        server.closeAllConnections();
        server.close();
        store.close();
      });
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    };

    const first: [string, (ctx: Context) => unknown, Partial<Answer> | 'sets'][] = [
      ['not accessed: no cookie', (ctx) => (ctx.body = 'a'), { status: 200, cookie: undefined }],
      [
        'accessed and not populated: no cookie',
        (ctx) => (ctx.body = String(ctx.session.isNew)),
        { text: 'true', cookie: undefined },
      ],
      ['populated: a cookie', (ctx) => (ctx.body = ctx.session.a = 'b'), 'sets'],
      [
        'null: a cookie that ends it',
        (ctx) => {
          ctx.session = null;
          ctx.body = 'gone';
        },
        'sets',
      ],
      ['an empty object: no cookie', (ctx) => (ctx.body = ctx.session = {}), { cookie: undefined }],
      ['an object: a cookie', (ctx) => (ctx.body = ctx.session = { message: 'hello' }), 'sets'],
      ['text: an error', (ctx) => (ctx.session = 'asdf' as never), { status: 500 }],
      [
        'toJSON() is its content',
        (ctx) => {
          ctx.session.foo = 'bar';
          ctx.body = ctx.session.toJSON();
        },
        { text: '{"foo":"bar"}' },
      ],
      [
        'length counts its members',
        (ctx) => {
          ctx.session.foo = 'bar';
          ctx.body = `${ctx.session.length} ${ctx.session.populated}`;
        },
        { text: '1 true' },
      ],
      [
        'save() of an empty one: a cookie',
        async (ctx) => {
          await ctx.session.save();
          ctx.body = 'hello';
        },
        'sets',
      ],
      [
        'maxAge alone, set: a cookie',
        (ctx) => {
          ctx.session.maxAge = 10_000;
          ctx.body = ctx.session;
        },
        'sets',
      ],
      ['maxAge alone, given: a cookie', (ctx) => (ctx.body = ctx.session = { maxAge: 10_000 }), 'sets'],
    ];
    for (const [what, handle, expected] of first) {
      it(what, async () => {
        const answer = await ask(await start(handle));
        if (expected === 'sets') expect(answer.cookie).to.match(/^koa[.:]sess=/);
        else expect(answer).to.deep.include(expected);
      });
    }

    it('a saved one is the same later, and sets a cookie only if it is changed', async () => {
      const url = await start((ctx) => {
        if (ctx.path === '/new') ctx.session.message = 'a;b';
        if (ctx.path === '/more') ctx.session.money = '$$$';
        ctx.body = ctx.path === '/none' ? 'none' : (ctx.session.message ?? '');
      });
      const cookie = kept(await ask(`${url}new`));
      expect(await ask(`${url}none`, cookie)).to.deep.include({ text: 'none', cookie: undefined });
      expect(await ask(url, cookie)).to.deep.include({ text: 'a;b', cookie: undefined });
      const changed = await ask(`${url}more`, cookie);
      expect([changed.text, changed.cookie]).to.satisfy(([text, set]: string[]) => text === 'a;b' && set);
    });

    it('an error downstream that is caught upstream does not keep it from being saved', async () => {
      const url = await start(
        (ctx) => {
          ctx.session.name = 'funny';
          ctx.throw(401);
        },
        {},
        (app) =>
          app.use(async (ctx, next) => {
            try {
              await next();
            } catch (error) {
              ctx.status = (error as { status: number }).status;
            }
          }),
      );
      const answer = await ask(url);
      expect(answer.status).to.equal(401);
      expect(answer.cookie).to.match(/^koa[.:]sess=/);
    });

    for (const [maxAge, expires] of [
      ['session', false],
      [10_000, true],
    ] as const) {
      it(`maxAge ${maxAge}: ${expires ? 'a time' : 'no time'} in the cookie, and it can be read`, async () => {
        const url = await start(
          (ctx) => {
            if (ctx.path === '/new') ctx.session.message = 'hi';
            ctx.body = ctx.session.message ?? '';
          },
          { maxAge },
        );
        const made = await ask(`${url}new`);
        expect(made.cookie?.includes('expires=')).to.equal(expires);
        expect((await ask(url, kept(made))).text).to.equal('hi');
      });
    }

    it('an expired one is another one', async () => {
      let expired: string | undefined;
      const url = await start(
        (ctx) => {
          if (ctx.path === '/new') ctx.session.message = 'hi';
          ctx.body = ctx.session.message ?? 'gone';
        },
        { maxAge: 1 },
        (app) =>
          app
            .on('session:expired', ({ key }: { key: string }) => {
              expired = key;
            })
            .on('session:missed', ({ key }: { key: string }) => {
              expired = key;
            }),
      );
      const cookie = kept(await ask(`${url}new`));
      while ((await ask(url, cookie)).text !== 'gone');
      expect(expired).to.be.a('string');
    });

    it('an unknown key is missed, and a new one', async () => {
      let missed: string | undefined;
      const url = await start(
        (ctx) => (ctx.body = String(ctx.session.isNew)),
        { signed: false, key: 'koa.sess' },
        (app) =>
          app.on('session:missed', ({ key }: { key: string }) => {
            missed = key;
          }),
      );
      expect((await ask(url, 'koa.sess=invalid-key')).text).to.equal('true');
      expect(missed).to.equal('invalid-key');
    });

    it('valid() says whose it is, and beforeSave() changes it', async () => {
      let isInvalid = false;
      const url = await start(
        (ctx) => {
          ctx.session.foo ??= `${Math.random()}`;
          ctx.body = ctx.session.foo;
        },
        {
          valid: (ctx: Context, data: { uid?: string }) => ctx.cookies.get('uid') === data.uid,
          beforeSave: (ctx: Context, data: { uid?: string | undefined }) => {
            data.uid = ctx.cookies.get('uid');
          },
        },
        (app) =>
          app.on('session:invalid', () => {
            isInvalid = true;
          }),
      );
      const made = await ask(url, 'uid=123');
      expect((await ask(url, `${kept(made)}; uid=123`)).text).to.equal(made.text);
      expect((await ask(url, `${kept(made)}; uid=456`)).text).not.to.equal(made.text);
      expect(isInvalid).to.equal(true);
    });

    for (const [option, maxAge, sets] of [
      ['rolling', 10_000, true],
      ['renew', 10_000, false],
    ] as const) {
      it(`${option} ${sets ? 'sets' : 'does not yet set'} the cookie again`, async () => {
        const url = await start(
          (ctx) => {
            if (ctx.path === '/new') ctx.session = { foo: 'bar' } as never;
            ctx.body = ctx.session.foo ?? '';
          },
          { [option]: true, maxAge },
        );
        const again = await ask(url, kept(await ask(`${url}new`)));
        expect(again.text).to.equal('bar');
        expect(again.cookie !== undefined).to.equal(sets);
      });
    }

    it('regenerate() gives it another key, and the old one is gone', async () => {
      const url = await start(async (ctx) => {
        if (ctx.path === '/new') ctx.session.foo = 'bar';
        if (ctx.path === '/again') await ctx.session.regenerate();
        ctx.body = ctx.session.foo ?? 'none';
      });
      const old = kept(await ask(`${url}new`));
      const next = kept(await ask(`${url}again`, old));
      expect(next).not.to.equal(old);
      expect((await ask(url, next)).text).to.equal('bar');
      expect((await ask(url, old)).text).to.equal('none');
    });
  });

  describe('@fastify/session', () => {
    const closers: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const close of closers.splice(0)) await close();
    });
    // biome-ignore lint/suspicious/noExplicitAny: a session has what a case puts into it
    type Handle = (request: FastifyRequest & { session: any }) => unknown;
    const start = async (handle: Handle, options: object = {}): Promise<string> => {
      const store = new FastifyStore(base);
      const app = fastify();
      app.register(fastifyCookie);
      app.register(fastifySession, {
        secret: 'a secret of at least thirty-two characters',
        store: store as never,
        cookie: { secure: false },
        ...options,
      });
      app.get('/*', async (request) => ({ is: (await handle(request as never)) ?? null }));
      closers.push(async () => {
        await app.close();
        store.close();
      });
      return `${await app.listen({ port: 0, host: '127.0.0.1' })}/`;
    };
    const isOf = ({ text }: Answer): unknown => (JSON.parse(text) as { is: unknown }).is;

    it('has a store on the request, and a session with an id of its own kind', async () => {
      const url = await start(({ session: { sessionId }, ...request }) => [
        sessionId.length,
        (request as { sessionStore?: unknown }).sessionStore !== null,
      ]);
      expect(isOf(await ask(url))).to.deep.equal([32, true]);
    });

    it('sets a cookie for a new one, and keeps what it is given', async () => {
      const url = await start((request) => {
        if (request.url === '/new') {
          request.session.test = { a: [1, 'ż'] };
          request.session.set('b', 2);
        }
        return [request.session.test, request.session.get('b')];
      });
      const made = await ask(`${url}new`);
      expect(made.cookie).to.match(/^sessionId=[\w-]{32}\.[\w%-]+; Path=\/; HttpOnly/);
      expect(isOf(await ask(url, kept(made)))).to.deep.equal([{ a: [1, 'ż'] }, 2]);
    });

    it('sets and stores none without a change where saveUninitialized is off', async () => {
      const url = await start((request) => request.session.test, { saveUninitialized: false });
      expect((await ask(url)).cookie).to.equal(undefined);
    });

    it('is another one for a forged, a foreign and an unknown cookie', async () => {
      const url = await start((request) => request.session.sessionId);
      const made = await ask(url);
      const forged = kept(made).replace(/=..../, '=AAAA');
      for (const cookie of [forged, 'sessionId=none', 'another=1']) {
        const other = await ask(url, cookie);
        expect([other.status, isOf(other) !== isOf(made)], cookie).to.deep.equal([200, true]);
      }
    });

    it('can be destroyed, and is then another one', async () => {
      const url = await start(async (request) => {
        if (request.url === '/new') request.session.user = 'ann';
        if (request.url === '/end') await request.session.destroy();
        return request.session?.user;
      });
      const made = await ask(`${url}new`);
      await ask(`${url}end`, kept(made));
      expect(isOf(await ask(url, kept(made)))).to.equal(null);
    });

    it('can be given another id, with what is to be kept', async () => {
      const url = await start(async (request) => {
        if (request.url === '/new') Object.assign(request.session, { kept: 1, lost: 2 });
        if (request.url === '/again') await request.session.regenerate(['kept']);
        return [request.session.kept ?? null, request.session.lost ?? null];
      });
      const made = await ask(`${url}new`);
      const again = await ask(`${url}again`, kept(made));
      expect(kept(again)).not.to.equal(kept(made));
      expect(isOf(await ask(url, kept(again)))).to.deep.equal([1, null]);
      expect(isOf(await ask(url, kept(made)))).to.deep.equal([null, null]);
    });

    it('can be saved and read again within a request', async () => {
      const url = await start(async (request) => {
        request.session.count = 1;
        await request.session.save();
        request.session.count = 2;
        await request.session.reload();
        return request.session.count;
      });
      expect(isOf(await ask(url))).to.equal(1);
    });

    for (const [rolling, sets] of [
      [true, true],
      [false, false],
    ] as const) {
      it(`rolling ${rolling}: ${sets ? 'a' : 'no'} cookie for one that is not changed`, async () => {
        const url = await start(
          (request) => {
            if (request.url === '/new') request.session.user = 'ann';
            return request.session.user;
          },
          { rolling, saveUninitialized: false, cookie: { secure: false, maxAge: 60_000 } },
        );
        const again = await ask(url, kept(await ask(`${url}new`)));
        expect(isOf(again)).to.equal('ann');
        expect(again.cookie !== undefined).to.equal(sets);
      });
    }

    it('is another one when its cookie has expired', async () => {
      const url = await start(
        (request) => {
          if (request.url === '/new') request.session.user = 'ann';
          return request.session.user;
        },
        { rolling: false, cookie: { secure: false, maxAge: 1 } },
      );
      const made = await ask(`${url}new`);
      while (isOf(await ask(url, kept(made))) !== null);
    });

    it('passes on that the store cannot be reached', async () => {
      const url = await start(
        (request) => {
          request.session.user = 'ann';
        },
        { store: new FastifyStore({ base_url: 'http://127.0.0.1:9/sessman', auth: KEY }) },
      );
      expect((await ask(url)).status).to.equal(500);
    });
  });
});
