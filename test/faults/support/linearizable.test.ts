import { expect } from 'chai';
import { judge, type Operation } from './linearizable.js';
import { happen, type Session, type SessionAnswer, type SessionCall, sessionModel } from './session-model.js';

type Op = Operation<SessionCall, SessionAnswer>;

const never = Number.POSITIVE_INFINITY;
const op = (invoked: number, answered: number, input: SessionCall, output?: SessionAnswer): Op => ({
  input,
  output,
  invoked,
  answered,
});
const isLinearizable = (history: readonly Op[]) => judge(sessionModel, history).isLinearizable;

const id = 'a';
const made = op(0, 1, { call: 'new', id, data: { n: 1 } }, { status: 200, version: 1, data: { n: 1 } });
const get = (invoked: number, answered: number, version: number, data: Record<string, number>) =>
  op(invoked, answered, { call: 'get', id }, { status: 200, version, data });
const patch = (invoked: number, answered: number, data: Record<string, number>, version: number) =>
  op(invoked, answered, { call: 'patch', id, data }, { status: 200, version });

describe('the judge of histories', () => {
  describe('accepts', () => {
    const accepted: Record<string, Op[]> = {
      'calls one after the other': [
        made,
        patch(2, 3, { m: 2 }, 2),
        get(4, 5, 2, { n: 1, m: 2 }),
        op(6, 7, { call: 'update', id, version: 1, data: {} }, { status: 412, version: 2 }),
        op(8, 9, { call: 'renew', id }, { status: 200, id: 'b', version: 2 }),
        op(10, 11, { call: 'get', id }, { status: 404 }),
        op(12, 13, { call: 'end', id: 'b' }, { status: 200 }),
        op(14, 15, { call: 'end', id: 'b' }, { status: 404 }),
      ],
      'two writes at once, in the order that their versions say': [
        made,
        patch(2, 9, { a: 1 }, 3),
        patch(3, 8, { b: 1 }, 2),
        get(10, 11, 3, { n: 1, a: 1, b: 1 }),
      ],
      'a read during a write, with either state': [
        made,
        op(2, 9, { call: 'end', id }, { status: 200 }),
        get(3, 4, 1, { n: 1 }),
        op(5, 6, { call: 'get', id }, { status: 404 }),
      ],
      'a write without an answer that never happens': [
        made,
        op(2, never, { call: 'patch', id, data: { a: 1 } }),
        get(3, 4, 1, { n: 1 }),
      ],
      'a write without an answer that happens much later': [
        made,
        op(2, never, { call: 'patch', id, data: { a: 1 } }),
        get(3, 4, 1, { n: 1 }),
        patch(5, 6, { b: 1 }, 3),
        get(7, 8, 3, { n: 1, a: 1, b: 1 }),
      ],
      'a renewal without an answer, after which nobody has the id': [
        made,
        op(2, never, { call: 'renew', id }),
        op(3, 4, { call: 'get', id }, { status: 404 }),
        op(5, 6, { call: 'end' }, { status: 200 }),
      ],
    };
    for (const [what, history] of Object.entries(accepted)) {
      it(what, () => {
        expect(judge(sessionModel, history)).to.deep.include({ isLinearizable: true });
      });
    }
  });

  describe('rejects', () => {
    const rejected: Record<string, Op[]> = {
      'a read that does not see a write which was acknowledged before': [
        made,
        patch(2, 3, { n: 2 }, 2),
        get(4, 5, 1, { n: 1 }),
      ],
      'a read that goes back behind another read': [
        made,
        op(2, never, { call: 'patch', id, data: { n: 2 } }),
        get(3, 4, 2, { n: 2 }),
        get(5, 6, 1, { n: 1 }),
      ],
      'a lost update': [
        made,
        patch(2, 5, { a: 1 }, 2),
        patch(3, 6, { b: 1 }, 3),
        get(7, 8, 3, { n: 1, b: 1 }),
      ],
      'two writers of one version': [
        made,
        op(2, 5, { call: 'update', id, version: 1, data: { a: 1 } }, { status: 200, version: 2 }),
        op(3, 6, { call: 'update', id, version: 1, data: { b: 1 } }, { status: 200, version: 2 }),
      ],
      'a session that is back after its end': [
        made,
        op(2, 9, { call: 'patch', id, data: { a: 1 } }, { status: 200, version: 2 }),
        op(3, 4, { call: 'end', id }, { status: 200 }),
        get(10, 11, 2, { n: 1, a: 1 }),
      ],
      'a write that was applied twice': [
        made,
        op(2, never, { call: 'patch', id, data: { n: 2 } }),
        patch(3, 4, { n: 3 }, 3),
        get(5, 6, 4, { n: 2 }),
      ],
      'an id that still opens after its renewal': [
        made,
        op(2, 3, { call: 'renew', id }, { status: 200, id: 'b', version: 1 }),
        get(4, 5, 1, { n: 1 }),
      ],
      'a session that is gone although nobody ended it': [
        made,
        op(2, 3, { call: 'get', id }, { status: 404 }),
      ],
    };
    for (const [what, history] of Object.entries(rejected)) {
      it(what, () => {
        expect(isLinearizable(history)).to.equal(false);
        expect(judge(sessionModel, history).order.length).to.be.within(1, history.length - 1);
      });
    }
  });

  it('accepts every history of a right store, and tells each kind of a wrong one from it', () => {
    const seeds = Array.from({ length: 200 }, (_, n) => n + 1);
    const rejected = (mutant?: (typeof mutants)[number]) =>
      seeds.filter((seed) => !isLinearizable(simulate(seed, mutant)));
    expect(rejected()).to.deep.equal([]);
    for (const mutant of mutants) expect(rejected(mutant), mutant).to.have.length.above(10);
  });
});

const mutants = ['stale read', 'lost update', 'resurrected', 'applied twice'] as const;

/**
 * A history of four clients on one session. Each call happens at one moment between its beginning and its answer; some have
 * no answer, and happen at any time, or never.
 */
function simulate(seed: number, mutant?: (typeof mutants)[number]): Op[] {
  const random = generator(seed);
  const history: Op[] = [made];
  let state: Session | null = { id, version: 1, data: { n: 1 } };
  let before = state;
  const run = (input: SessionCall, atCall: Session | null): SessionAnswer => {
    const { call } = input;
    if (call === 'get') return happen(mutant === 'stale read' ? before : state, input)[1];
    const isStale = mutant === 'lost update' && call === 'patch' && state !== null;
    const isBack = mutant === 'resurrected' && call === 'patch' && state === null;
    const [next, { status, version }] = happen(isStale || isBack ? atCall : state, input);
    if (next !== state && state !== null) before = state;
    state = next;
    return { status, ...(version !== undefined && { version }) };
  };
  const waiting: (() => void)[] = [];
  const clients: (() => void)[][] = [[], [], [], []];
  let time = 1;
  while (time < 120) {
    time += 1;
    if (random() < 0.2) waiting.shift()?.();
    const client = clients[Math.floor(random() * clients.length)]!;
    if (client.length > 0) {
      client.shift()!();
      continue;
    }
    if (history.length > 24) continue;
    const [invoked, atCall] = [time, state];
    const call = (['get', 'get', 'patch', time > 60 ? 'end' : 'patch'] as const)[Math.floor(random() * 4)]!;
    const input = { call, id, ...(call === 'patch' && { data: { [`k${time % 3}`]: time } }) };
    if (random() < 0.12) {
      history.push(op(invoked, never, input));
      const times = mutant === 'applied twice' ? 2 : Math.round(random());
      for (let n = 0; n < times; n += 1) waiting.push(() => run(input, atCall));
      continue;
    }
    let output: SessionAnswer | undefined;
    client.push(
      () => {
        output = run(input, atCall);
      },
      () => history.push(op(invoked, time, input, output)),
    );
  }
  return history;
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
