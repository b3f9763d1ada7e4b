import { expect } from 'chai';
import { Leased } from '../../../../plugins/sessman/stores/leased.js';

describe('a value that each process reads again after a while', () => {
  const make = (read: (n: number) => number | Promise<number>) => {
    let reads = 0;
    return new Leased(() => {
      reads += 1;
      return read(reads);
    });
  };

  it('is read at once where the store does that, and not again while it is fresh', () => {
    const leased = make((n) => n);
    expect(leased.known).to.equal(undefined);
    expect([leased.current(), leased.current(), leased.known]).to.deep.equal([1, 1, 1]);
    leased.forget();
    expect([leased.known, leased.current(), leased.current()]).to.deep.equal([1, 2, 2]);
  });

  it('is read once for all who ask meanwhile', async () => {
    const leased = make(async (n) => n);
    expect(await Promise.all([leased.current(), leased.current()])).to.deep.equal([1, 1]);
    expect([leased.current(), leased.known]).to.deep.equal([1, 1]);
    leased.forget();
    expect(await leased.current()).to.equal(2);
    leased.forget();
    expect(await leased.current()).to.equal(3);
  });

  it('is read again after a failure', async () => {
    const leased = make(async (n) => {
      if (n < 3) throw new Error(`failure ${n}`);
      return n;
    });
    for (const n of [1, 2]) {
      const error = await Promise.resolve(leased.current()).catch((thrown: Error) => thrown);
      expect(error)
        .to.be.instanceOf(Error)
        .and.to.include({ message: `failure ${n}` });
    }
    expect(leased.known).to.equal(undefined);
    expect(await leased.current()).to.equal(3);
  });

  it('is read again when it is old', async () => {
    const leased = make((n) => n);
    const began = performance.now();
    expect(leased.current()).to.equal(1);
    while (leased.current() === 1) await new Promise(setImmediate);
    expect(performance.now() - began).to.be.at.least(240);
  });
});
