import assert from 'node:assert/strict';
import { Rests } from '../../../../plugins/sessman/stores/rests.js';

const { signal } = new AbortController();

describe('rests of work in the background', () => {
  it('are as long as the work, and get shorter while nobody needs the event loop', async () => {
    const rests = new Rests();
    assert.equal(await rests.after(4, signal), 4);
    let last = 4;
    for (let n = 0; n < 200 && last > 2; n++) last = await rests.after(4, signal);
    assert.equal(last, 2);
    assert.equal(await rests.after(1, signal), 1);
    assert.equal(await rests.after(4, signal, 0), 0);
  });

  it('get up to four times as long while others need the event loop all the time', async () => {
    const rests = new Rests();
    let isOver = false;
    const spin = () => {
      const until = performance.now() + 0.5;
      while (performance.now() < until);
      if (!isOver) setImmediate(spin);
    };
    spin();
    try {
      assert.equal(await rests.after(3, signal), 3);
      let last = 3;
      for (let n = 0; n < 200 && last < 11; n++) last = await rests.after(3, signal);
      assert.ok(last >= 11 && last <= 12, `${last} ms`);
      assert.equal(await rests.after(3, signal, 0), 0);
    } finally {
      isOver = true;
    }
  });

  it('end early by their signal', async () => {
    const ending = new AbortController();
    setImmediate(() => ending.abort());
    assert.equal(await new Rests().after(600_000, ending.signal), 600_000);
  });
});
