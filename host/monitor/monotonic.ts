/** Milliseconds of the machine's monotonic clock, which all its processes share. `performance.now()` starts at zero in each. */
export function monotonic(): number {
  return performance.now() + start;
}

const start = machineTime() - performance.now();

function machineTime(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
