import { expect } from 'chai';
import { type Context, definePlugin, type Session, type SessionService } from 'plugin-server';

/** A plugin as its author writes it, importing plugin-server alone. That it compiles is most of the test. */
const visits = definePlugin({
  after: ['sessman'],
  setup({ plugin }) {
    const sessions = plugin('sessman');
    return async (userid: string): Promise<number> => {
      const made = await sessions.create(userid, { visits: 0 });
      const visits: number = made.data.visits + 1;
      const { data } = await sessions.update(made.id, { visits }, { version: made.version });
      const read: Session<{ visits: number }> = await sessions.get<{ visits: number }>(made.id, userid);
      const unknown: Record<string, unknown> = (await sessions.patch(made.id, { theme: 'dark' })).data;
      // @ts-expect-error: the data are an object, not JSON text.
      JSON.parse(read.data);
      // @ts-expect-error: a user is text.
      await sessions.list(7);
      return data.visits + read.data.visits + Object.keys(unknown).length;
    };
  },
});

/** One for visitors. */
const account = definePlugin({
  after: ['sessman'],
  setup({ router, plugin }) {
    const sessions = plugin('sessman');
    const visit = async (ctx: Context): Promise<number> => {
      const { data: own } = await sessions.login(ctx, 'mary', { data: { visits: 1 }, remember: false });
      const current = await sessions.current<{ visits: number }>(ctx);
      // @ts-expect-error: a visitor may have no session.
      const seen: number = current.data.visits;
      await sessions.logout(ctx, { foreign: true });
      return own.visits + seen;
    };
    router.get('/', async (ctx) => {
      ctx.body = await visit(ctx);
    });
  },
});

/** One that can do without sessman. */
const optional = definePlugin({
  after: ['sessman?'],
  setup({ plugin }) {
    const sessions: SessionService | undefined = plugin('sessman');
    return sessions?.list('ann');
  },
});

describe('the session manager for other plugins', () => {
  it('is typed by importing plugin-server alone', () => {
    expect([visits, account, optional].map(({ after }) => after)).to.deep.equal([
      ['sessman'],
      ['sessman'],
      ['sessman?'],
    ]);
  });
});
