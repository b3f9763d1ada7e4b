import { expect } from 'chai';
import type { HttpError } from '../../../../host/kit/http-error.js';
import type { StoreClock } from '../../../../plugins/sessman/store.js';
import { checkClock } from '../../../../plugins/sessman/stores/index.js';

describe('what /readyz says of the clocks', () => {
  const clock = (skew?: number, error = 0, isDoubtful = false): StoreClock => ({
    now: Date.now,
    skew,
    error,
    isDoubtful,
  });

  it('names the difference, how exact it is, and a doubt', () => {
    for (const [given, said] of [
      [clock(), "the store's time is not known yet"],
      [clock(0), "this host's clock is 0.000 s ahead of the store's"],
      [clock(1500), "this host's clock is 1.500 s ahead of the store's"],
      [clock(-90_000, 12), "this host's clock is 90.000 s behind the store's, to within 0.012 s"],
      [
        clock(-1, 0, true),
        "this host's clock is 0.001 s behind the store's; a clock has jumped, so nothing that has expired is removed",
      ],
    ] as const) {
      expect(checkClock(given, 0)).to.equal(said);
      expect(checkClock(given, 90)).to.equal(said);
    }
  });

  it('fails beyond the limit, in both directions', () => {
    for (const skew of [60_001, -60_001]) {
      let error: unknown;
      try {
        checkClock(clock(skew), 60);
      } catch (thrown) {
        error = thrown;
      }
      const { status, code, message } = error as HttpError;
      expect({ status, code }).to.deep.equal({ status: 503, code: 'clock_skew' });
      expect(message).to.match(/^this host's clock is 60\.001 s /);
    }
  });
});
