import { expect } from 'chai';
import { timetable } from '../../../host/storage/schedule.js';

const at = (text: string) => Date.parse(text);
const shown = (time: number | undefined) => (time === undefined ? undefined : new Date(time).toISOString());

/** The first times after one. */
function times(
  schedule: string,
  timeZone: string | undefined,
  after: string,
  count: number,
): (string | undefined)[] {
  const table = timetable(schedule, timeZone);
  const found: (string | undefined)[] = [];
  for (let time: number | undefined = at(after); found.length < count && time !== undefined; ) {
    time = table.next(time);
    found.push(shown(time)?.replace(':00.000Z', 'Z'));
  }
  return found;
}

describe('the schedule of a job', () => {
  it('as an interval is due at its multiples since the epoch', () => {
    expect(times('10 min', undefined, '2026-01-01T00:03:00Z', 2)).to.deep.equal([
      '2026-01-01T00:10Z',
      '2026-01-01T00:20Z',
    ]);
    expect(times('1 d', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2)).to.deep.equal([
      '2026-03-29T00:00Z',
      '2026-03-30T00:00Z',
    ]);
    expect(timetable('7 s').next(0)).to.equal(7000);
    expect(timetable('7 s').next(7000)).to.equal(14_000);
    expect(timetable('0.5 s').latest(1300)).to.equal(1000);
    expect(timetable('7 s').latest(14_000)).to.equal(14_000);
  });

  it('as cron is Vixie’s: a day of the month or a weekday is enough', () => {
    expect(times('0 0 13 * 5', undefined, '2026-01-01T00:00:00Z', 4)).to.deep.equal([
      '2026-01-02T00:00Z',
      '2026-01-09T00:00Z',
      '2026-01-13T00:00Z',
      '2026-01-16T00:00Z',
    ]);
    // A field that begins with * is not restricted.
    expect(times('0 0 */2 * mon', undefined, '2026-01-01T00:00:00Z', 2)).to.deep.equal([
      '2026-01-05T00:00Z',
      '2026-01-19T00:00Z',
    ]);
    expect(times('*/20 8-9,17 * jan MON-FRI', undefined, '2026-01-02T09:30:00Z', 3)).to.deep.equal([
      '2026-01-02T09:40Z',
      '2026-01-02T17:00Z',
      '2026-01-02T17:20Z',
    ]);
    expect(times('0 0 * * 7', undefined, '2026-01-01T00:00:00Z', 1)).to.deep.equal(['2026-01-04T00:00Z']);
  });

  // Berlin: 2026-03-29 01:00Z is 03:00 instead of 02:00; 2026-10-25 01:00Z is 02:00 again.
  it('runs a fixed time in a gap of daylight saving at the first instant after it', () => {
    expect(times('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00:00Z', 3)).to.deep.equal([
      '2026-03-28T01:30Z',
      '2026-03-29T01:00Z',
      '2026-03-30T00:30Z',
    ]);
    // Several that fall into one gap are one time.
    expect(times('*/15 2 * * *', 'Europe/Berlin', '2026-03-28T02:00:00Z', 2)).to.deep.equal([
      '2026-03-29T01:00Z',
      '2026-03-30T00:00Z',
    ]);
    expect(times('0 2-3 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2)).to.deep.equal([
      '2026-03-29T01:00Z',
      '2026-03-30T00:00Z',
    ]);
    const table = timetable('30 2 * * *', 'Europe/Berlin');
    expect(shown(table.latest(at('2026-03-29T01:10:00Z')))).to.equal('2026-03-29T01:00:00.000Z');
    expect(shown(table.latest(at('2026-03-29T00:59:59Z')))).to.equal('2026-03-28T01:30:00.000Z');
  });

  it('runs a fixed time that comes twice the first time', () => {
    expect(times('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).to.deep.equal([
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ]);
    // From within the hour that comes again.
    expect(times('45 2 * * *', 'Europe/Berlin', '2026-10-25T01:10:00Z', 1)).to.deep.equal([
      '2026-10-26T01:45Z',
    ]);
    const table = timetable('45 2 * * *', 'Europe/Berlin');
    expect(shown(table.latest(at('2026-10-25T01:10:00Z')))).to.equal('2026-10-25T00:45:00.000Z');
  });

  it('runs * and a step of it as hours at each real instant', () => {
    expect(times('30 * * * *', 'Europe/Berlin', '2026-03-29T00:00:00Z', 3)).to.deep.equal([
      '2026-03-29T00:30Z',
      '2026-03-29T01:30Z',
      '2026-03-29T02:30Z',
    ]);
    expect(times('30 * * * *', 'Europe/Berlin', '2026-10-24T23:45:00Z', 4)).to.deep.equal([
      '2026-10-25T00:30Z',
      '2026-10-25T01:30Z',
      '2026-10-25T02:30Z',
      '2026-10-25T03:30Z',
    ]);
    expect(times('0 */2 * * *', 'Europe/Berlin', '2026-03-28T23:30:00Z', 2)).to.deep.equal([
      '2026-03-29T02:00Z',
      '2026-03-29T04:00Z',
    ]);
    expect(times('0 */2 * * *', 'Europe/Berlin', '2026-10-24T22:30:00Z', 3)).to.deep.equal([
      '2026-10-25T00:00Z',
      '2026-10-25T01:00Z',
      '2026-10-25T03:00Z',
    ]);
    const table = timetable('30 * * * *', 'Europe/Berlin');
    for (const [upTo, latest] of [
      ['2026-10-25T01:40:00Z', '2026-10-25T01:30:00.000Z'],
      ['2026-10-25T01:20:00Z', '2026-10-25T00:30:00.000Z'],
      ['2026-03-29T01:10:00Z', '2026-03-29T00:30:00.000Z'],
    ] as const) {
      expect(shown(table.latest(at(upTo)))).to.equal(latest);
    }
  });

  it('looks back and ahead alike, around each change of a year', () => {
    for (const zone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Santiago']) {
      for (const schedule of ['*/30 * * * *', '15 0-3 * * *', '0 */3 * * *', '30 2 * * sun', '0 0 * * *']) {
        const table = timetable(schedule, zone);
        let time = table.next(at('2026-01-01T00:00:00Z'))!;
        for (let count = 0; count < 120 && time < at('2027-01-01T00:00:00Z'); count += 1) {
          const next = table.next(time)!;
          expect(next, `${schedule} ${zone} after ${shown(time)}`).to.be.greaterThan(time);
          expect(shown(table.latest(next)), `${schedule} ${zone} at ${shown(next)}`).to.equal(shown(next));
          expect(shown(table.latest(next - 1)), `${schedule} ${zone} before ${shown(next)}`).to.equal(
            shown(time),
          );
          // Jumps, so that the year is crossed.
          time = count % 5 === 4 ? table.next(next + 14 * 86_400_000)! : next;
        }
      }
    }
  });

  it('is refused with what to write instead', () => {
    const cases: readonly (readonly [unknown, RegExp, string?])[] = [
      ['10 minutes', /"10 minutes" is not a schedule; write an interval such as "10 min", or five fields/],
      ['0 s', /not an interval; write a number of s, min, h or d/],
      ['-5 min', /not an interval/],
      ['0 0 0 * * *', /five fields/],
      ['@daily', /five fields/],
      ['0 0 L * *', /five fields/],
      ['60 * * * *', /"60 \* \* \* \*" is not a schedule: Invalid value for minute: 60/],
      ['0 0 30 2 *', /"0 0 30 2 \*" never occurs/],
      [5, /not a string/],
      ['0 0 * * *', /timeZone "Mars" is not an IANA time zone/, 'Mars'],
    ];
    for (const [schedule, message, zone] of cases) {
      expect(() => timetable(schedule, zone)).to.throw(TypeError, message);
    }
  });
});
