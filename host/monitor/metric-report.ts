/** The metrics of one process as plain data, which travels between processes. */
export interface MetricReport {
  readonly name: string;
  readonly help: string;
  /** `counter`, `gauge`, `histogram` or `summary`. */
  readonly type: string;
  /** How the values of several processes with the same labels are combined. */
  readonly aggregator: string;
  readonly values: readonly MetricValue[];
  /** The upper bounds of the buckets of `cells`. */
  readonly buckets?: readonly number[];
  /** A histogram in place of `values`: a fifteenth of the size. */
  readonly cells?: readonly HistogramCell[];
}

export interface MetricValue {
  readonly value: number;
  readonly labels: Labels;
  /** If it differs from that of the metric: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string;
}

/** The observations with the same labels. */
export interface HistogramCell {
  readonly labels: Labels;
  /** By bucket, not cumulative. The last is for observations beyond all buckets. */
  readonly counts: readonly number[];
  readonly sum: number;
}

type Labels = Readonly<Record<string, string | number>>;

/** What prom-client calls aggregators. Without an entry (`omit`), the metric of several processes has no meaning. */
const AGGREGATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  first: (a) => a,
  min: Math.min,
  max: Math.max,
  // Divided in the end.
  average: (a, b) => a + b,
};

/**
 * Combines the metrics of several processes into one list. It needs no library, so that the supervisor can call it. A metric
 * whose aggregator is `omit` is left out.
 */
export function combineReports(reports: Iterable<readonly MetricReport[]>): MetricReport[] {
  const byName = new Map<string, Combination>();
  for (const metrics of reports) {
    for (const metric of metrics) {
      const combination = byName.get(metric.name);
      if (combination !== undefined) combination.add(metric);
      else if (metric.aggregator in AGGREGATORS) byName.set(metric.name, new Combination(metric));
    }
  }
  return [...byName.values()].map((combination) => combination.report());
}

class Combination {
  readonly #first: MetricReport;
  readonly #values = new Map<string, { value: MetricValue; times: number }>();
  readonly #cells = new Map<string, { labels: Labels; counts: number[]; sum: number }>();

  constructor(first: MetricReport) {
    this.#first = first;
    this.add(first);
  }

  add({ values, cells = [] }: MetricReport): void {
    const combine = AGGREGATORS[this.#first.aggregator]!;
    for (const value of values) {
      const key = `${value.metricName} ${keyOf(value.labels)}`;
      const earlier = this.#values.get(key);
      if (earlier === undefined) this.#values.set(key, { value, times: 1 });
      else {
        earlier.value = { ...value, value: combine(earlier.value.value, value.value) };
        earlier.times += 1;
      }
    }
    for (const { labels, counts, sum } of cells) {
      const key = keyOf(labels);
      const earlier = this.#cells.get(key);
      if (earlier === undefined) this.#cells.set(key, { labels, counts: [...counts], sum });
      else {
        counts.forEach((count, i) => {
          earlier.counts[i]! += count;
        });
        earlier.sum += sum;
      }
    }
  }

  report(): MetricReport {
    const isAverage = this.#first.aggregator === 'average';
    return {
      ...this.#first,
      values: [...this.#values.values()].map(({ value, times }) =>
        isAverage && times > 1 ? { ...value, value: value.value / times } : value,
      ),
      ...(this.#first.cells && { cells: [...this.#cells.values()] }),
    };
  }
}

/** The same for the same labels in any order. */
function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
