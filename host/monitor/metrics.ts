import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { type LineCounts, NO_LINES } from '../log/line.js';
import { Durations } from './durations.js';
import { LINES_DROPPED, linesDropped } from './lines-dropped.js';
import type { MetricReport } from './metric-report.js';
import { PluginMetricsMaker } from './plugin-metrics.js';

/** Seconds. The boundaries that OpenTelemetry's HTTP semantic conventions advise for http.server.request.duration. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const OTHER_METHOD = '_OTHER';
const DURATION = 'http_server_request_duration_seconds';

/** The plugin and the route template (`/hello/:name`) of a request, and its counts. */
export interface RouteLabels {
  readonly plugin: string;
  readonly route: string;
  /** Both as members of a log line. */
  readonly logged: string;
  /** Histogram cells by status and method. */
  readonly cells: Map<number, Cell>;
  /** The counts of the plugin. */
  readonly tally: Tally;
}

/** The responses of one plugin since the last report to the monitor. */
export interface Tally {
  requests: number;
  /** With a status from 400 to 499. */
  refused: number;
  /** With a status from 500 on. */
  failed: number;
}

interface Cell {
  readonly labels: Record<string, string>;
  /** Counts by bucket, not cumulative. The last is for durations beyond all buckets. */
  readonly counts: Float64Array;
  sum: number;
}

/** The metrics of one server: requests, the process, and those that plugins add. */
export class Metrics {
  readonly registry = new Registry();
  readonly ofPlugins = new PluginMetricsMaker(this.registry);
  active = 0;
  /** By plugin. */
  readonly tallies = new Map<string, Tally>();
  readonly durations = new Durations();
  readonly #routes = new Map<string, RouteLabels>();
  readonly #scheme: string;
  readonly #sockets = new Map<RouteLabels, number>();

  /** `droppedLines` counts the log lines that could not be written. */
  constructor(scheme: 'http' | 'https', droppedLines: () => LineCounts = () => NO_LINES) {
    this.#scheme = scheme;
    collectDefaultMetrics({ register: this.registry });
    this.registry.registerMetric(liveMetric(DURATION, () => this.#durationReport()));
    this.registry.registerMetric(
      snapshotMetric('http_server_active_requests', 'Requests in progress.', 'gauge', () => [
        { value: this.active, labels: { url_scheme: this.#scheme } },
      ]),
    );
    this.registry.registerMetric(
      snapshotMetric(LINES_DROPPED.name, LINES_DROPPED.help, 'counter', () => linesDropped(droppedLines())),
    );
    this.registry.registerMetric(
      snapshotMetric('plugin_server_websockets', 'Open WebSockets.', 'gauge', () =>
        [...this.#sockets].map(([{ plugin, route }, value]) => ({ value, labels: { plugin, route } })),
      ),
    );
  }

  /** Shows which plugins are ready: 1, or 0 for one that failed in any worker. */
  watchPlugins(states: () => Iterable<{ readonly name: string; readonly state: string }>): void {
    const name = 'plugin_server_plugin_ready';
    const help = 'Whether the plugin is set up in every worker: 1, or 0.';
    const values = () =>
      Array.from(states(), (plugin) => ({
        value: plugin.state === 'ready' ? 1 : 0,
        labels: { plugin: plugin.name },
      }));
    this.registry.registerMetric(
      liveMetric(name, () => ({ name, help, type: 'gauge', aggregator: 'min', values: values() })),
    );
  }

  route(plugin: string, route: string): RouteLabels {
    const key = `${plugin} ${route}`;
    let labels = this.#routes.get(key);
    if (labels === undefined) {
      const logged = `,"plugin":${JSON.stringify(plugin)},"route":${JSON.stringify(route)}`;
      labels = { plugin, route, logged, cells: new Map(), tally: this.#tally(plugin) };
      this.#routes.set(key, labels);
    }
    return labels;
  }

  observe(route: RouteLabels, method: string, status: number, seconds: number): void {
    const methodIndex = METHODS.indexOf(method);
    const key = status * 8 + (methodIndex + 1);
    let cell = route.cells.get(key);
    if (cell === undefined) {
      cell = {
        labels: {
          http_request_method: METHODS[methodIndex] ?? OTHER_METHOD,
          http_response_status_code: String(status),
          http_route: route.route,
          plugin: route.plugin,
          url_scheme: this.#scheme,
        },
        counts: new Float64Array(BUCKETS.length + 1),
        sum: 0,
      };
      route.cells.set(key, cell);
    }
    let bucket = 0;
    while (bucket < BUCKETS.length && seconds > BUCKETS[bucket]!) bucket += 1;
    cell.counts[bucket]! += 1;
    cell.sum += seconds;
    this.durations.add(seconds);
    const { tally } = route;
    tally.requests += 1;
    if (status >= 500) tally.failed += 1;
    else if (status >= 400) tally.refused += 1;
  }

  /** Counts a WebSocket that opens, 1, or closes, -1. */
  countSocket(route: RouteLabels, change: 1 | -1): void {
    this.#sockets.set(route, (this.#sockets.get(route) ?? 0) + change);
  }

  #tally(plugin: string): Tally {
    let tally = this.tallies.get(plugin);
    if (tally === undefined) {
      tally = { requests: 0, refused: 0, failed: 0 };
      this.tallies.set(plugin, tally);
    }
    return tally;
  }

  /** Stops the collection of the default metrics. */
  close(): void {
    this.registry.clear();
  }

  /** The metrics of this process, those of plugins included. */
  async report(): Promise<readonly MetricReport[]> {
    return (await this.registry.getMetricsAsJSON()) as unknown as MetricReport[];
  }

  /** Counting costs one array access per request, where prom-client would hash the labels. */
  #durationReport(): MetricReport {
    const cells = [...this.#routes.values()].flatMap((route) => [...route.cells.values()]);
    return {
      name: DURATION,
      help: 'Duration of HTTP requests, in seconds.',
      type: 'histogram',
      aggregator: 'sum',
      values: [],
      buckets: BUCKETS,
      cells: cells.map(({ labels, counts, sum }) => ({ labels, counts: [...counts], sum })),
    };
  }
}

interface SnapshotValue {
  readonly value: number;
  readonly labels: Record<string, string | number>;
}

/** A metric whose values are read at each scrape. */
function snapshotMetric(
  name: string,
  help: string,
  type: 'counter' | 'gauge',
  read: () => SnapshotValue[],
): Metric {
  return liveMetric(name, () => ({ name, help, type, aggregator: 'sum', values: read() }));
}

/** prom-client's registry uses these three members of a metric. */
function liveMetric(name: string, get: () => MetricReport): Metric {
  return { name, get, reset: () => {} } as unknown as Metric;
}
