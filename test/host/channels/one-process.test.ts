import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  async setup({ channel, onReady, router }) {
    const numbers = channel('numbers');
    const seen = [];
    const end = numbers.subscribe((value) => { seen.push(value); });
    globalThis.channels = { channel, numbers, seen, end };
    onReady(async () => {
      numbers.publish({ ready: true });
      while (seen.length === 0) await new Promise(setImmediate);
    });
  },
});`;

interface Channels {
  readonly channel: (name: string) => void;
  readonly numbers: {
    publish(value: unknown): void;
    subscribe(handler: (value: never) => unknown): () => void;
  };
  readonly seen: unknown[];
  readonly end: () => void;
}

const given = () => (globalThis as unknown as { channels: Channels }).channels;
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const nextTurn = () => new Promise(setImmediate);

describe('a channel of one process', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ files: { 'plugins/try.mjs': plugin } });
  });
  afterEach(() => server.close());

  const dropped = async () =>
    Number(
      /plugin_server_channel_dropped_total\{plugin="try",channel="numbers"\} (\d+)/.exec(
        await (await server.fetch('/metrics')).text(),
      )?.[1],
    );

  it('has a subscription of setup in force when onReady runs', () => {
    expect(given().seen).to.deep.equal([{ ready: true }]);
  });

  it('carries copies, in their order, however many come at once', async () => {
    const { numbers, seen } = given();
    seen.length = 0;
    const value = { n: [1] };
    numbers.publish(value);
    value.n.push(2);
    for (let i = 0; i < 5000; i += 1) numbers.publish(i);
    while (seen.length < 5001) await nextTurn();
    expect(seen).to.deep.equal([{ n: [1] }, ...Array.from({ length: 5000 }, (_, i) => i)]);
    expect(await dropped()).to.equal(0);
  });

  it('awaits a handler before the next value, and goes on after one that throws or rejects', async () => {
    const { numbers } = given();
    const steps: string[] = [];
    numbers.subscribe(async (value: number) => {
      steps.push(`begin ${value}`);
      await nextTurn();
      steps.push(`end ${value}`);
      if (value === 1) throw new Error('one is too small');
    });
    numbers.subscribe((value: number) => {
      if (value === 2) throw new Error('two is too small');
    });
    for (const value of [1, 2, 3]) numbers.publish(value);
    while (steps.length < 6) await nextTurn();
    expect(steps).to.deep.equal(['begin 1', 'end 1', 'begin 2', 'end 2', 'begin 3', 'end 3']);
    const lines = server.logs.filter(({ msg }) => msg === 'channel handler failed');
    expect(lines.map(({ err }) => (err as { message: string }).message).sort()).to.deep.equal([
      'one is too small',
      'two is too small',
    ]);
    expect(lines[0]).to.include({ plugin: 'try', channel: 'numbers', level: 'error' });
  });

  for (const [what, values, kept] of [
    ['1,000 values', Array.from({ length: 2500 }, (_, i) => i), 1000],
    ['4 MiB', Array.from({ length: 120 }, (_, i) => `${i} ${'x'.repeat(60_000)}`), 69],
  ] as const) {
    it(`keeps the latest ${what} for a handler that is too slow, counts the others and logs them once`, async () => {
      const { numbers } = given();
      const seen: unknown[] = [];
      let release = () => {};
      const busy = new Promise<void>((resolve) => {
        release = resolve;
      });
      numbers.subscribe(async (value) => {
        seen.push(value);
        await busy;
      });
      numbers.publish('first');
      while (seen.length === 0) await nextTurn();
      for (const [i, value] of values.entries()) {
        numbers.publish(value);
        if (i % 50 === 0) await nextTurn();
      }
      while ((await dropped()) < values.length - kept) await nextTurn();
      release();
      while (seen.at(-1) !== values.at(-1)) await nextTurn();
      expect(seen).to.deep.equal(['first', ...values.slice(-kept)]);
      expect(await dropped()).to.equal(values.length - kept);
      const lines = server.logs.filter(({ msg }) => msg.startsWith('a subscriber is too slow'));
      expect(lines).to.have.lengthOf(1);
      expect(lines[0]).to.include({ plugin: 'try', channel: 'numbers', level: 'warn' });
    });
  }

  it('keeps nothing of the values that were handled', async () => {
    const { numbers, end } = given();
    end();
    let handled = 0;
    numbers.subscribe(() => {
      handled += 1;
    });
    const inUse = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = inUse();
    for (let i = 1; i <= 400; i += 1) {
      numbers.publish(`${i} ${'x'.repeat(60_000)}`);
      while (handled < i) await nextTurn();
    }
    // All of them have 24 MB.
    expect(inUse() - before).to.be.below(4_000_000);
  });

  it('ends a subscription that is told to', async () => {
    const { numbers, seen, end } = given();
    const others: unknown[] = [];
    numbers.subscribe((value) => others.push(value));
    end();
    end();
    numbers.publish('later');
    while (others.length === 0) await nextTurn();
    expect(seen).to.deep.equal([{ ready: true }]);
  });

  it('calls no handler with values that wait when its subscription ends', async () => {
    const { numbers } = given();
    const seen: unknown[] = [];
    const others: unknown[] = [];
    let release = () => {};
    const busy = new Promise<void>((resolve) => {
      release = resolve;
    });
    const end = numbers.subscribe(async (value) => {
      seen.push(value);
      await busy;
    });
    numbers.subscribe((value) => others.push(value));
    for (const value of [1, 2, 3]) numbers.publish(value);
    while (others.length < 3) await nextTurn();
    end();
    release();
    numbers.publish(4);
    while (others.length < 4) await nextTurn();
    expect(seen).to.deep.equal([1]);
  });

  for (const [what, value, message] of [
    ['undefined', undefined, 'channel("numbers").publish: value is undefined; publish null instead'],
    ['a date', { at: [new Date()] }, /^channel\("numbers"\)\.publish: value\.at\[0\] is a Date; /],
    ['a bigint', 1n, /value is a bigint/],
    ['what is too large', 'x'.repeat(65_535), /the value has 65537 bytes as JSON; 65536 are allowed$/],
  ] as const) {
    it(`refuses ${what}`, () => {
      const publish = () => given().numbers.publish(value);
      expect(publish).to.throw(TypeError, message);
    });
  }

  it('carries 64 KiB', async () => {
    const { numbers, seen } = given();
    numbers.publish('x'.repeat(65_534));
    while (seen.length < 2) await nextTurn();
    expect(seen[1]).to.have.lengthOf(65_534);
  });

  it('is made in setup only, under a name of its form', async () => {
    expect(() => given().channel('late')).to.throw('channel("late") was called after setup');
    const error = await startServer({
      files: { 'plugins/try.mjs': plugin.replace("channel('numbers')", "channel('Numbers!')") },
    }).then(
      (started) => started.close(),
      (reason) => reason,
    );
    expect(error.message).to.contain(
      'channel("Numbers!"): a name has 1 to 64 characters of a-z, 0-9, _ and -',
    );
  });
});
