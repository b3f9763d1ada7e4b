import { expect } from 'chai';
import { slopeOf } from './slope.js';

describe('the slope through points', () => {
  it('is that of a line, and certain, where all are on it', () => {
    const { slope, upper } = slopeOf(Array.from({ length: 10 }, (_, x) => [x, 3 * x + 7] as const));
    expect([slope, upper]).to.deep.equal([3, 3]);
  });

  it('has the bound that tables of Student have for points beside it', () => {
    // 12 points, one above the line and one below it in turn: t is 2.228 for 10 degrees of freedom.
    const points = Array.from({ length: 12 }, (_, x) => [x, x % 2 === 0 ? 1 : -1] as const);
    const { slope, upper } = slopeOf(points);
    expect(slope).to.be.closeTo(-6 / 143, 1e-9);
    const rest = 12 - (6 / 143) ** 2 * 143;
    expect(upper).to.be.closeTo(slope + 2.228 * Math.sqrt(rest / 10 / 143), 0.003);
  });
});
