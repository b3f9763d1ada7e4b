import { expect } from 'chai';
import { Durations, percentiles } from '../../../host/monitor/durations.js';

describe('durations', () => {
  it('give percentiles within an eighth of the truth, from microseconds to a minute', () => {
    for (const seconds of [0.000_012, 0.000_3, 0.001_7, 0.04, 0.9, 12, 60]) {
      const durations = new Durations();
      for (let i = 0; i < 100; i += 1) durations.add(seconds);
      const [half, most] = percentiles([durations.take()], 0.5, 0.99)!;
      expect(half).to.be.closeTo(seconds, seconds / 8);
      expect(most).to.equal(half);
    }
  });

  it('tell the slow few from the quick many', () => {
    const durations = new Durations();
    for (let i = 0; i < 98; i += 1) durations.add(0.001);
    durations.add(0.5);
    durations.add(0.5);
    const [p50, p90, p99] = percentiles([durations.take()], 0.5, 0.9, 0.99)!;
    expect(p50).to.be.closeTo(0.001, 0.000_2);
    expect(p90).to.be.closeTo(0.001, 0.000_2);
    expect(p99).to.be.closeTo(0.5, 0.1);
  });

  it('are counted once: what was taken is gone', () => {
    const durations = new Durations();
    durations.add(0.001);
    expect(durations.take()).to.have.length(2);
    expect(durations.take()).to.deep.equal([]);
  });

  it('of several processes become one', () => {
    const [one, two] = [new Durations(), new Durations()];
    for (let i = 0; i < 10; i += 1) one.add(0.001);
    for (let i = 0; i < 90; i += 1) two.add(0.1);
    const [p50] = percentiles([one.take(), two.take()], 0.5)!;
    expect(p50).to.be.closeTo(0.1, 0.02);
    expect(percentiles([[], []], 0.5)).to.equal(undefined);
  });

  it('take what no clock should give', () => {
    const durations = new Durations();
    for (const odd of [-1, 0, 1e9]) durations.add(odd);
    expect(durations.take().filter((_, i) => i % 2 === 1)).to.deep.equal([2, 1]);
  });
});
