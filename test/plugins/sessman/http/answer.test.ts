import { expect } from 'chai';
import fc from 'fast-check';
import { timestamp } from '../../../../plugins/sessman/http/answer.js';

describe('the times in answers', () => {
  it('are written as toISOString writes them', () => {
    const latest = 8_640_000_000_000_000;
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 0, max: latest }), fc.integer({ min: 0, max: 4e12 })),
        (time) => {
          expect(timestamp(time)).to.equal(new Date(time).toISOString());
        },
      ),
      { examples: [[0], [latest], [951_782_400_000], [1_735_689_599_999]], numRuns: 5000 },
    );
  });
});
