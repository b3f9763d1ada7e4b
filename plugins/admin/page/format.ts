/** A number in the fewest figures that tell it: 0, 0.4, 12.3, 1,234. */
export function number(value: number): string {
  if (value === 0) return '0';
  if (value < 10) return round(value, value < 1 ? 2 : 1);
  return Math.round(value).toLocaleString('en');
}

/** Seconds: 85 µs, 1.2 ms, 340 ms, 2.5 s. */
export function seconds(value: number): string {
  if (value === 0) return '0 ms';
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${round(value * 1000, value < 0.01 ? 2 : value < 0.1 ? 1 : 0)} ms`;
  return `${round(value, 1)} s`;
}

/** Bytes: 84 MB. */
export function bytes(value: number): string {
  if (value < 1e6) return `${Math.round(value / 1e3)} kB`;
  if (value < 1e9) return `${round(value / 1e6, value < 1e7 ? 1 : 0)} MB`;
  return `${round(value / 1e9, 2)} GB`;
}

/** A part of one: 12 %. */
export function percent(value: number): string {
  return `${round(value * 100, value < 0.1 ? 1 : 0)} %`;
}

/** How long something lasts, in two units at most: 3 h 12 min. */
export function duration(milliseconds: number): string {
  const total = Math.max(0, Math.round(milliseconds / 1000));
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const;
  const first = units.findIndex(([, size]) => total >= size);
  if (first < 0) return '0 s';
  const [name, size] = units[first]!;
  const whole = Math.floor(total / size);
  const next = units[first + 1];
  const rest = next === undefined ? 0 : Math.floor((total % size) / next[1]);
  return rest === 0 ? `${whole} ${name}` : `${whole} ${name} ${rest} ${next![0]}`;
}

/** `5 min ago`, `in 2 h`, `just now`. */
export function relative(time: number, now: number): string {
  const apart = time - now;
  if (Math.abs(apart) < 1000) return 'just now';
  return apart < 0 ? `${short(-apart)} ago` : `in ${short(apart)}`;
}

// Made once: it takes a hundred times as long as using it.
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const minutes = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const exact = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** The day and the time, as the reader's own country writes them. */
export function moment(time: number): string {
  return moments.format(time);
}

/** 14:05, and 14:05:30 within a minute. */
export function timeOfDay(time: number): string {
  return (time % 60_000 === 0 ? minutes : exact).format(time);
}

/** One unit: 2 h. */
function short(milliseconds: number): string {
  const [value, unit] = duration(milliseconds).split(' ');
  return `${value} ${unit}`;
}

function round(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
