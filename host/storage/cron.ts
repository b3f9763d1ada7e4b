import { createRequire } from 'node:module';
import { type TimeZone, timeZone } from './time-zone.js';
import type { Timetable } from './timetable.js';

/**
 * The five fields of Vixie's cron, in a time zone. croner finds the wall times that match; what they mean where clocks are
 * put forward or back is decided here.
 * @throws TypeError
 */
export function cron(text: string, zoneName: string): Timetable {
  const fields = text.split(/\s+/);
  if (fields.length !== 5 || !fields.every((field) => FIELD.test(field))) {
    throw new TypeError(
      `"${text}" is not a schedule; write an interval such as "10 min", or five fields: minute, hour, day of month, month, weekday`,
    );
  }
  const walls = wallTimes(fields.join(' '), text);
  const zone = timeZone(zoneName);
  const times = fields[1]!.startsWith('*') ? realTimes(walls, zone) : fixedTimes(walls, zone);
  if (times.next(Date.now()) === undefined) throw new TypeError(`"${text}" never occurs`);
  return { text: `${fields.join(' ').toLowerCase()} ${zoneName}`, ...times };
}

/** Numbers, names of months and weekdays, lists, ranges and steps. */
const FIELD = /^(?:[*\d,/-]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)+$/i;
/** Milliseconds. Clocks are put forward or back by less. */
const near = 3 * 3_600_000;

type Times = Pick<Timetable, 'next' | 'latest'>;

/** The wall times that match, without regard to any time zone. */
interface Walls {
  after(wall: number): number | undefined;
  /** That time included. */
  upTo(wall: number): number | undefined;
}

/** A fixed hour: once a day, even if the clocks show it twice; if they skip it, right after the gap. */
function fixedTimes(walls: Walls, zone: TimeZone): Times {
  /** Never runs backwards with the wall time. */
  const instantOf = (wall: number): number => {
    const [first] = zone.instants(wall);
    // Within a gap, the earlier of the two readings lies before it, the later one behind it.
    return first ?? zone.transition(wall - near * 8, wall + near * 8)!;
  };
  return {
    next(after) {
      const from = after + zone.offset(after);
      // After clocks are put back, times that have already come lie ahead again.
      let wall = walls.after(isSteady(zone, after) ? from : from - near);
      for (; wall !== undefined; wall = walls.after(wall)) {
        const instant = instantOf(wall);
        if (instant > after) return instant;
      }
      return undefined;
    },
    latest(upTo) {
      const to = upTo + zone.offset(upTo);
      let wall = walls.upTo(isSteady(zone, upTo) ? to : to + near);
      for (; wall !== undefined; wall = walls.upTo(wall - 1)) {
        const instant = instantOf(wall);
        if (instant <= upTo) return instant;
      }
      return undefined;
    },
  };
}

/** Any hour, or a step of hours: each instant at which the clocks show a time that matches. */
function realTimes(walls: Walls, zone: TimeZone): Times {
  return {
    next(after) {
      const change = zone.transition(after, after + near);
      let from = after;
      if (change !== undefined) {
        const offset = zone.offset(after);
        const wall = walls.after(after + offset);
        if (wall !== undefined && wall - offset < change) return wall - offset;
        from = change - 1;
      }
      let wall = walls.after(
        change === undefined ? from + zone.offset(from) : change + zone.offset(change) - 1,
      );
      for (; wall !== undefined; wall = walls.after(wall)) {
        const instant = zone.instants(wall).find((each) => each > from);
        if (instant !== undefined) return instant;
      }
      return undefined;
    },
    latest(upTo) {
      const change = zone.transition(upTo - near, upTo);
      if (change !== undefined) {
        const wall = walls.upTo(upTo + zone.offset(upTo));
        const since = wall === undefined ? undefined : wall - zone.offset(upTo);
        if (since !== undefined && since >= change) return since;
        return realTimes(walls, zone).latest(change - 1);
      }
      for (let wall = walls.upTo(upTo + zone.offset(upTo)); wall !== undefined; wall = walls.upTo(wall - 1)) {
        const instant = zone.instants(wall).findLast((each) => each <= upTo);
        if (instant !== undefined) return instant;
      }
      return undefined;
    },
  };
}

/** Whether no clock change is near an instant. */
function isSteady(zone: TimeZone, instant: number): boolean {
  return zone.transition(instant - near, instant + near) === undefined;
}

function wallTimes(pattern: string, text: string): Walls {
  // Loaded only for schedules in cron's form.
  const { Cron } = createRequire(import.meta.url)('croner') as typeof import('croner');
  const [, , day = '', , weekday = ''] = pattern.split(' ');
  // As in Vixie's cron, a field that begins with * restricts nothing by itself, a step of it included.
  const both = day.startsWith('*') || weekday.startsWith('*');
  try {
    const croner = new Cron(pattern, { timezone: 'UTC', paused: true, domAndDow: both });
    return {
      after: (wall) => croner.nextRun(new Date(wall))?.getTime(),
      upTo: (wall) => croner.previousRuns(1, new Date(Math.floor(wall / 1000) * 1000 + 1000))[0]?.getTime(),
    };
  } catch (error) {
    const detail = (error as Error).message.replace(/^CronPattern: /, '');
    throw new TypeError(`"${text}" is not a schedule: ${detail}`);
  }
}
