/**
 * The wall clock of a time zone. A wall time is a number, too: the milliseconds since the epoch of the same time in UTC.
 */
export interface TimeZone {
  /** Milliseconds that its clocks are ahead of UTC at an instant. */
  offset(instant: number): number;
  /** The instants at which its clocks show a wall time, in order: none in a gap, two when the time comes twice. */
  instants(wall: number): number[];
  /** The first instant in (from, to] whose offset differs from that of `from`, if any. */
  transition(from: number, to: number): number | undefined;
}

export function timeZone(name: string): TimeZone {
  if (name === 'UTC') return utc;
  const format = new Intl.DateTimeFormat('en-u-hc-h23', {
    timeZone: name,
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
    era: 'short',
  });
  const offset = (instant: number): number => {
    const second = Math.floor(instant / 1000) * 1000;
    const parts = Object.fromEntries(format.formatToParts(second).map(({ type, value }) => [type, value]));
    const [year, month, day, hour, minute, sec] = [
      parts.year,
      parts.month,
      parts.day,
      parts.hour,
      parts.minute,
      parts.second,
    ].map(Number) as [number, number, number, number, number, number];
    return Date.UTC(year, month - 1, day, hour, minute, sec) - second;
  };
  const transition = (from: number, to: number): number | undefined => {
    const before = offset(from);
    if (offset(to) === before) return undefined;
    let [low, high] = [from, to];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (offset(middle) === before) low = middle;
      else high = middle;
    }
    return high;
  };
  const instants = (wall: number): number[] => {
    const offsets = new Set([offset(wall - day), offset(wall + day)]);
    return [...offsets]
      .map((each) => wall - each)
      .filter((instant) => instant + offset(instant) === wall)
      .sort((a, b) => a - b);
  };
  return { offset, instants, transition };
}

const day = 86_400_000;

const utc: TimeZone = { offset: () => 0, instants: (wall) => [wall], transition: () => undefined };
