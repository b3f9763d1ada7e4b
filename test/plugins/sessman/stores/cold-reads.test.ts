import assert from 'node:assert/strict';
import { ColdReads } from '../../../../plugins/sessman/stores/embedded/cold-reads.js';

const key = Buffer.from('key');

describe('reads of an embedded store that is not in memory', () => {
  /** How often this process has waited for the disk, as the system counts it. */
  let faults = 0;
  const faultCount = () => faults;

  /** As long as a page that has to come from a disk. */
  function slowly<T>(value: T): T {
    const until = performance.now() + 1;
    while (performance.now() < until);
    return value;
  }
  function fromDisk<T>(value: T): T {
    faults += 1;
    return slowly(value);
  }

  it('look ahead in another thread after slow ones, and no more once all are fast', async () => {
    let ahead = 0;
    const reads = new ColdReads(async () => {
      ahead += 1;
    }, faultCount);
    for (let n = 0; n < 9; n++)
      assert.equal(
        reads.read(key, () => slowly('interrupted')),
        'interrupted',
      );
    assert.equal(
      reads.read(key, () => fromDisk('from disk')),
      'from disk',
    );
    const next = reads.read(key, () => 'in memory');
    assert.ok(next instanceof Promise);
    assert.equal(await next, 'in memory');
    assert.equal(ahead, 1);
    for (let n = 1; n < 100; n++) assert.ok(reads.read(key, () => slowly('in memory')) instanceof Promise);
    assert.equal(
      reads.read(key, () => 'at once'),
      'at once',
    );
  });

  it('occupy three threads at most, so that a commit finds one', async () => {
    let running = 0;
    let most = 0;
    const reads = new ColdReads(async () => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running -= 1;
    }, faultCount);
    reads.read(key, () => fromDisk(0));
    const values = await Promise.all(Array.from({ length: 20 }, (_, n) => reads.read(key, () => n)));
    assert.deepEqual(
      values,
      Array.from({ length: 20 }, (_, n) => n),
    );
    assert.equal(most, 3);
  });

  it('pass on what goes wrong, and go on', async () => {
    let broken = true;
    const reads = new ColdReads(
      () => (broken ? Promise.reject(new Error('closed')) : Promise.resolve()),
      faultCount,
    );
    reads.read(key, () => fromDisk(0));
    const some = Array.from({ length: 5 }, () => Promise.resolve(reads.read(key, () => 1)));
    for (const each of some) await assert.rejects(each, /closed/);
    broken = false;
    assert.equal(await reads.read(key, () => 2), 2);
    assert.throws(() => {
      const given = new ColdReads(async () => {}).read(key, () => {
        throw new Error('damaged');
      });
      assert.fail(String(given));
    }, /damaged/);
  });
});
