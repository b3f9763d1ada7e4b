import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { Alarm, linkedTo } from '../../../../plugins/sessman/stores/alarm.js';

describe('an alarm', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => clock.restore());

  /** Whether it is over, so far. */
  const waiting = (alarm: Alarm, milliseconds: number) => {
    const wait = { isOver: false };
    void alarm.wait(milliseconds).then(() => {
      wait.isOver = true;
    });
    return wait;
  };

  it('lets a task wait until it rings, at the latest until its time is over', async () => {
    const alarm = new Alarm();
    const rung = waiting(alarm, 1000);
    await clock.tickAsync(999);
    expect(rung.isOver).to.equal(false);
    alarm.ring();
    await nextTurn();
    expect(rung.isOver).to.equal(true);
    expect(clock.countTimers()).to.equal(0);
    const over = waiting(alarm, 1000);
    await clock.tickAsync(999);
    expect(over.isOver).to.equal(false);
    await clock.tickAsync(1);
    expect(over.isOver).to.equal(true);
  });

  it('loses nothing that rings while nobody waits, and counts it once', async () => {
    const alarm = new Alarm();
    alarm.ring();
    alarm.ring();
    const first = waiting(alarm, 1000);
    await nextTurn();
    expect(first.isOver).to.equal(true);
    const second = waiting(alarm, 1000);
    await nextTurn();
    expect(second.isOver).to.equal(false);
    await clock.tickAsync(1000);
    expect(second.isOver).to.equal(true);
  });

  it('is not needed for what ends with a signal, even one that has aborted', () => {
    const [ended, ending] = [new AbortController(), new AbortController()];
    ended.abort();
    expect(linkedTo(ended.signal).signal.aborted).to.equal(true);
    const [one, two] = [linkedTo(ending.signal), linkedTo(ending.signal)];
    one.abort();
    expect([ending.signal.aborted, two.signal.aborted]).to.deep.equal([false, false]);
    // It leaves nothing behind.
    expect(getEventListeners(ending.signal, 'abort')).to.have.length(1);
    ending.abort();
    expect(two.signal.aborted).to.equal(true);
  });
});
