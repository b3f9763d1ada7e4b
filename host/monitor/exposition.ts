import type { HistogramCell, MetricReport } from './metric-report.js';

/** The media types of the two formats: Prometheus text 0.0.4, and OpenMetrics 1.0. */
export const EXPOSITION_TYPES = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const;

export type Exposition = keyof typeof EXPOSITION_TYPES;

/** The last word of a name that is a unit: OpenMetrics states it on a line. */
const UNIT = /_(seconds|bytes)$/;

/**
 * Writes metrics in one of the two formats. It needs no library, so that any process can call it, the supervisor included.
 *
 * In OpenMetrics the family of a counter has a name without `_total`, its samples have one with it, and the text ends with
 * `# EOF`. Metrics without values are left out.
 */
export function expose(metrics: readonly MetricReport[], format: Exposition): string {
  const lines: string[] = [];
  const names = new Set(metrics.map(({ name }) => name));
  for (const metric of metrics) {
    if (metric.values.length + (metric.cells?.length ?? 0) === 0) continue;
    if (format === 'text') writeText(lines, metric);
    else writeOpenMetrics(lines, metric, names);
  }
  if (format === 'openmetrics') lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

function writeText(lines: string[], metric: MetricReport): void {
  const { name, help, type } = metric;
  lines.push(`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`);
  for (const { metricName = name, labels, value } of metric.values)
    lines.push(`${metricName}${braced(labelsOf(labels))} ${numberText(value)}`);
  for (const cell of metric.cells ?? []) writeCell(lines, metric, cell, String);
}

function writeOpenMetrics(lines: string[], metric: MetricReport, names: ReadonlySet<string>): void {
  const { name, help } = metric;
  let { type } = metric;
  let family = name;
  if (type === 'counter') {
    family = name.replace(/_total$/, '');
    // Two families cannot have one name: a plugin may have both `jobs` and `jobs_total`.
    if (family !== name ? names.has(family) : names.has(`${name}_total`)) {
      family = name;
      type = 'unknown';
    }
  }
  lines.push(`# TYPE ${family} ${type}`);
  const unit = UNIT.exec(family)?.[1];
  if (unit !== undefined) lines.push(`# UNIT ${family} ${unit}`);
  lines.push(`# HELP ${family} ${escaped(help).replaceAll('"', '\\"')}`);
  const sample = type === 'counter' ? `${family}_total` : name;
  for (const { metricName = sample, labels, value } of metric.values) {
    const { le, ...others } = labels;
    const pairs =
      le === undefined ? labelsOf(labels) : [...labelsOf({ le: canonical(le) }), ...labelsOf(others)];
    lines.push(`${metricName}${braced(pairs)} ${numberText(value)}`);
  }
  for (const cell of metric.cells ?? []) writeCell(lines, metric, cell, canonical);
}

/** The buckets are cumulative. */
function writeCell(
  lines: string[],
  { name, buckets = [] }: MetricReport,
  { labels, counts, sum }: HistogramCell,
  bound: (le: number) => string,
): void {
  const shared = labelsOf(labels).join(',');
  const comma = shared === '' ? '' : ',';
  let total = 0;
  for (let i = 0; i <= buckets.length; i += 1) {
    total += counts[i] ?? 0;
    const le = i === buckets.length ? '+Inf' : bound(buckets[i]!);
    lines.push(`${name}_bucket{le="${le}"${comma}${shared}} ${total}`);
  }
  const braces = shared === '' ? '' : `{${shared}}`;
  lines.push(`${name}_sum${braces} ${numberText(sum)}`, `${name}_count${braces} ${total}`);
}

function labelsOf(labels: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(String(value)).replaceAll('"', '\\"')}"`,
  );
}

function braced(pairs: readonly string[]): string {
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** OpenMetrics wants `1.0` as the bound of a bucket, where the text format has `1`. */
function canonical(le: string | number): string {
  const text = String(le);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}
