/** A straight line through points, by least squares. */
export interface Slope {
  readonly slope: number;
  /** Up to where the slope may be, with 95 % confidence on both sides together. */
  readonly upper: number;
}

/** At least 10 points. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): Slope {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const rest = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  // Student's t for 97.5 %, to within 1 % from 8 degrees of freedom on.
  const t = 1.96 + 2.4 / (n - 2) + 3 / (n - 2) ** 2;
  return { slope, upper: slope + t * Math.sqrt(rest / (n - 2) / spread) };
}
