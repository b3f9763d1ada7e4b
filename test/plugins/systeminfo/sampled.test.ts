import { expect } from 'chai';
import { type Logger, pino } from 'pino';
import sinon from 'sinon';
import { Sampled } from '../../../plugins/systeminfo/sampled.js';

describe('a measurement in the background', () => {
  const pause = 5000;
  let clock: sinon.SinonFakeTimers;
  let abort: AbortController;
  let warnings: string[];
  let log: Logger;

  beforeEach(() => {
    clock = sinon.useFakeTimers();
    abort = new AbortController();
    warnings = [];
    log = pino({ level: 'warn' }, { write: (line) => warnings.push(JSON.parse(line).source) });
  });

  afterEach(() => {
    abort.abort();
    clock.restore();
  });

  it('is there with its time when start settles, and is repeated after each pause', async () => {
    let count = 0;
    const sampled = new Sampled('count', async () => ({ count: ++count }), pause, log);
    expect(sampled.latest).to.equal(undefined);
    await sampled.start(abort.signal);
    expect(sampled.latest).to.deep.equal({ count: 1, sampled_at: '1970-01-01T00:00:00.000Z' });
    await clock.tickAsync(pause - 1);
    expect(sampled.latest?.count).to.equal(1);
    await clock.tickAsync(1);
    expect(sampled.latest).to.deep.equal({ count: 2, sampled_at: '1970-01-01T00:00:05.000Z' });
    await clock.tickAsync(3 * pause);
    expect(count).to.equal(5);
  });

  it('is started once, however often it is asked for', async () => {
    let count = 0;
    const sampled = new Sampled('count', async () => ({ count: ++count }), pause, log);
    await Promise.all([sampled.start(abort.signal), sampled.start(abort.signal)]);
    await sampled.start(abort.signal);
    expect(count).to.equal(1);
    await clock.tickAsync(pause);
    expect(count).to.equal(2);
  });

  it('that hangs is not begun again, and the latest stays', async () => {
    let count = 0;
    const measure = () =>
      ++count === 1 ? Promise.resolve({ count }) : new Promise<{ count: number }>(() => {});
    const sampled = new Sampled('hanging', measure, pause, log);
    await sampled.start(abort.signal);
    await clock.tickAsync(10 * pause);
    expect(count).to.equal(2);
    expect(sampled.latest?.count).to.equal(1);
  });

  it('that fails is said once, keeps the latest, and is tried again', async () => {
    let broken = false;
    let count = 0;
    const measure = async () => {
      if (broken) throw new Error('no such device');
      return { count: ++count };
    };
    const sampled = new Sampled('device', measure, pause, log);
    await sampled.start(abort.signal);
    broken = true;
    await clock.tickAsync(5 * pause);
    expect(warnings).to.deep.equal(['device']);
    expect(sampled.latest?.count).to.equal(1);
    broken = false;
    await clock.tickAsync(pause);
    expect(sampled.latest?.count).to.equal(2);
    broken = true;
    await clock.tickAsync(pause);
    expect(warnings).to.deep.equal(['device', 'device']);
  });

  it('that fails at first settles start all the same', async () => {
    const sampled = new Sampled('nothing', () => Promise.reject(new Error('never')), pause, log);
    await sampled.start(abort.signal);
    expect(sampled.latest).to.equal(undefined);
  });

  it('ends with the signal', async () => {
    let count = 0;
    const sampled = new Sampled('count', async () => ({ count: ++count }), pause, log);
    await sampled.start(abort.signal);
    abort.abort();
    await clock.tickAsync(10 * pause);
    expect(count).to.equal(1);
  });
});
