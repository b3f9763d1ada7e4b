import { cron } from './cron.js';
import type { Timetable } from './timetable.js';

/**
 * Reads an interval (`10 min`) or the five fields of cron.
 * @throws TypeError
 */
export function timetable(schedule: unknown, timeZone: string = 'UTC'): Timetable {
  if (typeof schedule !== 'string') throw new TypeError('the schedule is not a string');
  checkZone(timeZone);
  const text = schedule.trim();
  const [, count, unit] = /^(\S+)\s+(s|min|h|d)$/.exec(text) ?? [];
  if (unit !== undefined) return interval(text, Number(count) * units[unit as keyof typeof units]);
  return cron(text, timeZone);
}

const units = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
/** Milliseconds: with a shorter interval, the lease alone would delay the job. */
const shortest = 100;

function interval(text: string, period: number): Timetable {
  if (!Number.isInteger(period) || period < shortest) {
    throw new TypeError(`"${text}" is not an interval; write a number of s, min, h or d, such as "10 min"`);
  }
  return {
    text: `every ${period} ms`,
    next: (after) => (Math.floor(after / period) + 1) * period,
    latest: (upTo) => Math.floor(upTo / period) * period,
  };
}

function checkZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch {
    throw new TypeError(
      `timeZone "${timeZone}" is not an IANA time zone; write one such as "Europe/Berlin", or leave it out for UTC`,
    );
  }
}
