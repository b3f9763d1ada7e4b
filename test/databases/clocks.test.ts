import { expect } from 'chai';
import type { Db } from 'mongodb';
import { believedAfter, bootTime } from '../../databases/clock.js';
import { type ClockMark, WallClock } from '../../databases/lmdb/wall-clock.js';
import { ServerClock } from '../../databases/mongodb/server-clock.js';

const minute = 60_000;
const day = 1440 * minute;
/** Milliseconds that a test may take between two looks at a clock. */
const within = 5000;

describe('clocks of stores', () => {
  const realNow = Date.now;
  let shift = 0;
  before(() => {
    Date.now = () => realNow() + shift;
  });
  after(() => {
    Date.now = realNow;
  });
  beforeEach(() => {
    shift = 0;
  });

  describe("the machine's clock", () => {
    const clocks: WallClock[] = [];
    let mark: ClockMark | undefined;
    const jumps: (number | undefined)[] = [];
    beforeEach(() => {
      mark = undefined;
      jumps.length = 0;
    });
    afterEach(() => {
      for (const clock of clocks.splice(0)) clock.close();
    });
    const open = () => {
      const clock = new WallClock({
        read: () => mark,
        keep: async (next) => {
          mark = next;
        },
        onJump: (skew) => jumps.push(skew),
      });
      clocks.push(clock);
      return clock;
    };
    const sure = () => {
      const clock = open();
      clock.keep();
      return clock;
    };

    it('is followed while it is slewed, or steps by less than the tolerance', () => {
      const clock = sure();
      shift = -20_000;
      expect(clock.now()).to.be.closeTo(Date.now(), within);
      expect([clock.isDoubtful, clock.skew]).to.deep.equal([false, 0]);
    });

    for (const [what, jump] of [
      ['back 10 minutes', -10 * minute],
      ['forward a day', day],
    ] as const) {
      it(`is not followed ${what}, until it is right again`, () => {
        const clock = sure();
        shift = jump;
        expect(clock.now()).to.be.closeTo(realNow(), within);
        expect(clock.isDoubtful).to.equal(true);
        expect(clock.skew).to.be.closeTo(jump, within);
        expect(jumps).to.have.length(1);
        shift = 0;
        expect(clock.now()).to.be.closeTo(realNow(), within);
        expect([clock.isDoubtful, clock.skew, jumps.at(-1)]).to.deep.equal([false, 0, undefined]);
      });

      it(`is not followed ${what} by a process that starts afterwards`, () => {
        sure();
        shift = jump;
        const next = open();
        expect(next.now()).to.be.closeTo(realNow(), within);
        expect(next.isDoubtful).to.equal(true);
      });
    }

    it('is believed once it has been where it is now for long', () => {
      const clock = sure();
      shift = day;
      clock.keep();
      expect(mark?.time).to.be.closeTo(realNow(), within);
      mark = { ...mark!, since: mark!.since! - believedAfter };
      clock.keep();
      expect(clock.isDoubtful).to.equal(false);
      expect(clock.now()).to.be.closeTo(realNow() + day, within);
      expect(open().now(), 'by the others, too').to.be.closeTo(realNow() + day, within);
    });

    it('does not go back behind the mark after the machine was started again', () => {
      mark = { boot: 'another', at: 1e9, time: realNow() + day };
      const clock = open();
      expect(clock.now()).to.be.closeTo(realNow() + day + bootTime(), within);
      expect(clock.isDoubtful).to.equal(true);
      mark = { boot: 'another', at: 1e9, time: realNow() - 30 * day };
      const later = open();
      expect(later.now()).to.be.closeTo(realNow(), within);
      expect(later.isDoubtful, 'it was off for a month').to.equal(false);
    });
  });

  describe("the server's clock", () => {
    let ahead = 0;
    const db = {
      admin: () => ({ command: async () => ({ localTime: new Date(realNow() + ahead) }) }),
    } as unknown as Db;
    beforeEach(() => {
      ahead = 0;
    });

    it('counts, and not that of the machine', async () => {
      const clock = new ServerClock();
      expect(clock.skew).to.equal(undefined);
      expect(clock.now()).to.be.closeTo(Date.now(), within);
      shift = 90_000;
      await clock.read(db);
      expect(clock.now()).to.be.closeTo(realNow(), within);
      expect(clock.skew).to.be.closeTo(90_000, within);
      shift = -600_000;
      expect(clock.now()).to.be.closeTo(realNow(), within);
      expect(clock.skew).to.be.closeTo(-600_000, within);
      expect(clock.isDoubtful).to.equal(false);
    });

    it('is not followed where it jumps, until it is right again', async () => {
      const jumps: (number | undefined)[] = [];
      const clock = new ServerClock((skew) => jumps.push(skew));
      await clock.read(db);
      for (const jump of [day, -10 * minute]) {
        ahead = jump;
        await clock.read(db);
        expect(clock.isDoubtful).to.equal(true);
        expect(clock.now()).to.be.closeTo(realNow(), within);
        expect(jumps.at(-1)).to.be.closeTo(jump, within);
        ahead = 0;
        await clock.read(db);
        expect([clock.isDoubtful, jumps.at(-1)]).to.deep.equal([false, undefined]);
      }
    });
  });
});
