import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type Koa from 'koa';
import { EXPOSITION_TYPES, type Exposition, expose } from '../monitor/exposition.js';
import type { MetricReport } from '../monitor/metric-report.js';

/** On a thread: the event loop goes on. */
const zip = promisify(gzip);

/** Prometheus 3 asks for a way to escape names. All names here are valid in each of them. */
const ESCAPINGS = ['allow-utf-8', 'underscores', 'dots', 'values'];

/** What `Accept` may ask for. The first is for everybody who asks for nothing in particular. */
const OFFERS = new Map<string, Exposition>([
  [EXPOSITION_TYPES.text, 'text'],
  [EXPOSITION_TYPES.openmetrics, 'openmetrics'],
  ...ESCAPINGS.map(
    (escaping) => [`${EXPOSITION_TYPES.openmetrics}; escaping=${escaping}`, 'openmetrics'] as const,
  ),
]);
const OFFERED = [...OFFERS.keys()];

/**
 * Responds with metrics in the format that `Accept` prefers, compressed where `Accept-Encoding` allows it. A client that
 * accepts neither format gets the text format, as from other exporters, and not a 406.
 */
export async function answerMetrics(ctx: Koa.Context, metrics: readonly MetricReport[]): Promise<void> {
  const accepted = ctx.accepts(OFFERED);
  const format = OFFERS.get(typeof accepted === 'string' ? accepted : '') ?? 'text';
  const text = expose(metrics, format);
  ctx.vary('Accept, Accept-Encoding');
  ctx.set('Content-Type', EXPOSITION_TYPES[format]);
  if (ctx.acceptsEncodings('gzip', 'identity') === 'gzip') {
    ctx.body = await zip(text);
    ctx.set('Content-Encoding', 'gzip');
  } else ctx.body = text;
}
