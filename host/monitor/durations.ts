/**
 * Counts durations from a microsecond to a minute, in cells at most an eighth as wide as their value. The buckets of the
 * metrics begin at five milliseconds, too coarse for the percentiles of a server that responds in a tenth of one.
 */
export class Durations {
  readonly #counts = new Uint32Array(CELLS);

  add(seconds: number): void {
    this.#counts[cellOf(seconds * 1e6)]! += 1;
  }

  /** The counts since the last call, as cell, count, cell, count, …. */
  take(): number[] {
    const taken: number[] = [];
    for (let cell = 0; cell < CELLS; cell += 1) {
      const count = this.#counts[cell]!;
      if (count > 0) taken.push(cell, count);
    }
    this.#counts.fill(0);
    return taken;
  }
}

/** The percentiles (0 to 1) over lists that `take` returned, in seconds; undefined without any durations. */
export function percentiles(
  taken: readonly (readonly number[])[],
  ...wanted: readonly number[]
): readonly number[] | undefined {
  const counts = new Float64Array(CELLS);
  let total = 0;
  for (const list of taken) {
    for (let i = 0; i < list.length; i += 2) {
      counts[list[i]!]! += list[i + 1]!;
      total += list[i + 1]!;
    }
  }
  if (total === 0) return undefined;
  return wanted.map((fraction) => {
    const rank = Math.max(1, Math.ceil(fraction * total));
    let cell = 0;
    for (let seen = counts[0]!; seen < rank; seen += counts[cell]!) cell += 1;
    return middleOf(cell) / 1e6;
  });
}

/** Cells per octave, as a power of two. */
const BITS = 3;
const HALF = 1 << BITS;
/** 2^26 microseconds are 67 seconds. */
const OCTAVES = 26;
const CELLS = (OCTAVES - BITS + 1) * HALF;

function cellOf(microseconds: number): number {
  const whole = Math.min(Math.trunc(microseconds), 2 ** OCTAVES - 1);
  if (whole < HALF) return Math.max(whole, 0);
  const octave = 31 - Math.clz32(whole);
  return (octave - BITS + 1) * HALF + ((whole >> (octave - BITS)) & (HALF - 1));
}

function middleOf(cell: number): number {
  if (cell < HALF) return cell + 0.5;
  const width = 2 ** (Math.trunc(cell / HALF) - 1);
  return (HALF + (cell % HALF) + 0.5) * width;
}
