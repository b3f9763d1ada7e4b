import { uptime } from 'node:os';

/** The time by which what a store keeps expires. */
export interface StoreClock {
  /** Milliseconds since the Unix epoch: the same, to within `error`, in every process that shares the store. */
  now(): number;
  /** Milliseconds by which this machine's clock is ahead of it; undefined as long as nothing is known of it. */
  readonly skew: number | undefined;
  /** Milliseconds by which `now` may be off: half a round trip to the server. */
  readonly error: number;
  /** Whether a clock has jumped, so that `now` goes by the steady clock: what it calls expired may not be removed. */
  readonly isDoubtful: boolean;
}

/** Milliseconds by which a clock may be off against the steady one before it counts as one that has jumped. */
export const tolerance = 30_000;
/** Milliseconds after which a clock that has jumped, and goes on from there, is believed. */
export const believedAfter = 3_600_000;

/**
 * Milliseconds since the machine was started, suspended or not (CLOCK_BOOTTIME), to some 10 ms: nobody can set it. As cheap
 * as `performance.now()`, which stands still while the machine is suspended: the system is asked only where the two clocks
 * of the process move apart. Outside Linux, the time in which it was suspended is missing.
 */
export function bootTime(): number {
  const monotonic = performance.now();
  const apart = Date.now() - monotonic;
  if (Math.abs(apart - known.apart) > 1000) {
    known.apart = apart;
    known.offset = Math.max(known.offset, bootOffset());
  }
  return monotonic + known.offset;
}

/** For the log. `skew` as the clocks tell it: undefined when the clock is believed again. */
export function jumpMessage(whose: string, skew: number | undefined): string {
  if (skew === undefined) return `${whose} is believed again`;
  const by = `${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? 'ahead' : 'back'}`;
  return `${whose} has jumped by ${by}. Correct it: until then, for up to an hour, time goes by the steady clock, and nothing that has expired is removed`;
}

function bootOffset(): number {
  return process.platform === 'linux' ? uptime() * 1000 - performance.now() : 0;
}

const known = { apart: Date.now() - performance.now(), offset: bootOffset() };
