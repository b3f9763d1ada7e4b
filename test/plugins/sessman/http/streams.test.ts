import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { EventStream } from '../../../../plugins/sessman/http/event-stream.js';
import { type StreamNews, Streams } from '../../../../plugins/sessman/http/streams.js';
import { makeChannel } from '../support/channel.js';

interface Opened {
  readonly stream: EventStream;
  /** What a client has read. */
  text: string;
  /** How often the watching was stopped. */
  stops: number;
}

describe('the streams of the processes of a host', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({
      now: 1e12,
      toFake: ['setInterval', 'clearInterval', 'Date', 'performance'],
    });
    // A process has run for a while.
    clock.tick(60_000);
  });
  afterEach(() => clock.restore());

  /** As many processes, and what they tell each other. */
  const start = (count: number) => {
    const { channel, ...bus } = makeChannel<StreamNews>();
    const processes = Array.from({ length: count }, () => {
      const streams = new Streams(channel());
      /** A stream whose client reads, unless it is told not to. */
      const open = (handle = 'ann', isRead = true): Opened => {
        const opened: Opened = { stream: new EventStream(), text: '', stops: 0 };
        if (isRead)
          opened.stream.body.setEncoding('utf8').on('data', (text: string) => {
            opened.text += text;
          });
        streams.add(handle, opened.stream, () => {
          opened.stops += 1;
        });
        return opened;
      };
      return { streams, open };
    });
    return { ...bus, processes };
  };
  type Process = ReturnType<typeof start>['processes'][number];
  /** One after the other, in time, too. */
  const openEach = async (count: number, { open }: Process, handle?: string): Promise<Opened[]> => {
    const all: Opened[] = [];
    for (let n = 0; n < count; n++) {
      clock.tick(1);
      all.push(open(handle));
      await settled();
    }
    return all;
  };
  /** Resolves when everything that was told has been heard, and what was closed has closed. */
  const settled = async () => {
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  };
  const isOpen = ({ stream }: Opened) => !stream.body.writableEnded && !stream.body.destroyed;
  const close = async (opened: readonly Opened[]) => {
    for (const { stream } of opened) stream.body.destroy();
    await settled();
  };

  it('are 20 of a session at most: the oldest goes, without an end, whichever process has it', async () => {
    const { processes } = start(2);
    const [one, two] = processes as [Process, Process];
    const others = await openEach(1, one, 'ben');
    const all: Opened[] = [];
    for (let n = 0; n < 12; n++) all.push(...(await openEach(1, one)), ...(await openEach(1, two)));
    expect(all.map(isOpen)).to.deep.equal(all.map((_, n) => n >= 4));
    expect(others.every(isOpen)).to.equal(true);
    for (const closed of all.slice(0, 4)) expect([closed.text, closed.stops]).to.deep.equal(['', 1]);
    await close(all);
    for (const { stops } of all) expect(stops).to.equal(1);
  });

  it('make room for others when they close', async () => {
    const { processes } = start(2);
    const [one, two] = processes as [Process, Process];
    const ofOne = await openEach(10, one);
    const ofTwo = await openEach(10, two);
    await close(ofTwo.slice(0, 5));
    await openEach(5, one);
    await openEach(5, one, 'ben');
    expect(ofOne.every(isOpen)).to.equal(true);
    expect(ofTwo.slice(5).every(isOpen)).to.equal(true);
    await openEach(1, two);
    expect(ofOne.map(isOpen)).to.deep.equal(ofOne.map((_, n) => n > 0));
  });

  it('are the same 20 in all processes, though many were opened in one millisecond', async () => {
    for (let round = 0; round < 10; round++) {
      const { processes } = start(3);
      const all: Opened[] = [];
      for (let n = 0; n < 24; n++) all.push(processes[n % 3]!.open());
      await settled();
      expect(all.filter(isOpen)).to.have.length(20);
    }
  });

  it('count as long as their process lives, though it has nothing to tell', async () => {
    const { processes } = start(3);
    const [one, two, three] = processes as [Process, Process, Process];
    const [oldest] = await openEach(1, one);
    await openEach(19, two);
    await clock.tickAsync(60_000);
    await settled();
    expect(isOpen(oldest!)).to.equal(true);
    await openEach(1, three);
    expect(isOpen(oldest!)).to.equal(false);
  });

  it('no longer count when their process was killed, once it has been silent for 5 seconds', async () => {
    for (const [silence, survives] of [
      [4000, false],
      [5000, true],
    ] as const) {
      const { processes, way } = start(2);
      const [one, killed] = processes as [Process, Process];
      const own = await openEach(1, one);
      await openEach(19, killed);
      way.isOpen = () => false;
      await clock.tickAsync(silence);
      way.isOpen = () => true;
      killed.streams.sendAway();
      own.push(...(await openEach(1, one)));
      expect(isOpen(own[0]!), `after ${silence}`).to.equal(survives);
      if (survives) own.push(...(await openEach(18, one)));
      expect(own.slice(1).every(isOpen)).to.equal(true);
      if (!survives) continue;
      await openEach(1, one);
      expect(isOpen(own[0]!)).to.equal(false);
    }
  });

  it('are all sent away at a drain, and their process tells nothing more', async () => {
    const { processes, sent } = start(2);
    const [one, two] = processes as [Process, Process];
    const away = [...(await openEach(2, one)), ...(await openEach(2, one, 'ben'))];
    const staying = await openEach(1, two);
    const told = sent.length;
    one.streams.sendAway();
    await settled();
    for (const { text, stops } of away) {
      expect(text).to.match(/^retry: [1-5]\d{3}\n\n$/);
      expect(stops).to.equal(1);
    }
    expect(staying.every(isOpen)).to.equal(true);
    await openEach(1, one);
    await clock.tickAsync(10_000);
    const froms = new Set(sent.slice(told).map(({ from }) => from));
    expect(froms.size, 'only the other one').to.equal(1);
    await close(staying);
  });

  it('are told of only while there are some', async () => {
    const { processes, sent } = start(2);
    const [one, two] = processes as [Process, Process];
    const tellsOf = async () => {
      const before = sent.length;
      await clock.tickAsync(10_000);
      await settled();
      return new Set(sent.slice(before).map(({ from }) => from)).size;
    };
    expect(await tellsOf()).to.equal(0);
    const own = await openEach(2, one);
    const others = await openEach(3, two);
    expect(await tellsOf()).to.equal(2);
    await close(own.slice(0, 1));
    expect(await tellsOf()).to.equal(2);
    await close(own);
    expect(await tellsOf()).to.equal(1);
    const again = await openEach(1, one);
    expect(await tellsOf()).to.equal(2);
    await close([...again, ...others]);
    expect(await tellsOf()).to.equal(0);
  });

  it('are still counted where one of before closes late, as its client did not read', async () => {
    const { processes } = start(2);
    const [one, two] = processes as [Process, Process];
    const slow = one.open('ann', false);
    await settled();
    const mate = await openEach(1, one);
    await openEach(19, two);
    expect([isOpen(slow), isOpen(mate[0]!)]).to.deep.equal([false, true]);
    await close(mate);
    const next = await openEach(1, one);
    await close([slow]);
    await openEach(19, two);
    expect(isOpen(next[0]!)).to.equal(true);
    await openEach(1, two);
    expect(isOpen(next[0]!)).to.equal(false);
  });
});
