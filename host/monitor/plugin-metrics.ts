import { Counter, Gauge, Histogram, type Metric, type Registry } from 'prom-client';
import type { PluginMetrics } from '../kit/index.js';

/** The label that says which plugin a value is of. */
const LABEL = 'plugin';

type Kind = 'counter' | 'gauge' | 'histogram';

interface MetricOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
}

/** As prom-client returns it; its types leave `metricName` out. */
type Reading = Awaited<ReturnType<Counter['get']>>;

/**
 * Makes the metrics of plugins. Every value carries the label `plugin`, the name of the plugin that made it. Several
 * instances of one plugin share a metric's name, and each counts by itself.
 */
export class PluginMetricsMaker {
  readonly #registry: Registry;
  readonly #shared = new Map<string, SharedMetric>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** The metrics that plugins have made. */
  get metrics(): Iterable<SharedMetric> {
    return this.#shared.values();
  }

  /** `code` is the same value for all instances of one plugin. */
  of(plugin: string, code: object): PluginMetrics {
    const make = <Made extends Metric>(kind: Kind, options: MetricOptions, metric: () => Made): Made => {
      const { name, help, labelNames = [] } = options;
      if (labelNames.includes(LABEL))
        throw new Error(`the server sets the label "${LABEL}" of the metric "${name}"; rename yours`);
      const shared = this.#shared.get(name) ?? this.#add(new SharedMetric(name, help, kind, code));
      shared.refuse(plugin, kind, code);
      const made = metric();
      shared.add(plugin, made);
      return made;
    };
    // Not in the registry, which has the metric that they share.
    const registers: Registry[] = [];
    return {
      counter: (options) => make('counter', options, () => new Counter({ ...options, registers })),
      gauge: (options) => make('gauge', options, () => new Gauge({ ...options, registers })),
      histogram: (options) => make('histogram', options, () => new Histogram({ ...options, registers })),
    };
  }

  #add(metric: SharedMetric): SharedMetric {
    this.#registry.registerMetric(metric as unknown as Metric);
    this.#shared.set(metric.name, metric);
    return metric;
  }
}

/** One metric with the values of each instance. prom-client's registry uses its `name`, `get` and `reset`. */
class SharedMetric {
  readonly name: string;
  readonly help: string;
  readonly type: Kind;
  readonly #code: object;
  readonly #parts = new Map<string, Metric>();

  constructor(name: string, help: string, type: Kind, code: object) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#code = code;
  }

  /** Throws if the plugin cannot have a metric of this name. */
  refuse(plugin: string, kind: Kind, code: object): void {
    const [owner] = this.#parts.keys();
    if (this.#parts.has(plugin)) throw new Error(`the metric "${this.name}" already exists`);
    if (code !== this.#code) throw new Error(`the metric "${this.name}" belongs to plugin "${owner}"`);
    if (kind !== this.type) throw new Error(`the metric "${this.name}" is a ${this.type}, not a ${kind}`);
  }

  add(plugin: string, metric: Metric): void {
    this.#parts.set(plugin, metric);
  }

  async get(): Promise<Reading> {
    const readings = await Promise.all(
      [...this.#parts].map(async ([plugin, metric]) => {
        const { values, aggregator } = await (metric as Counter).get();
        return {
          aggregator,
          values: values.map((each) => ({ ...each, labels: { ...each.labels, [LABEL]: plugin } })),
        };
      }),
    );
    const { name, help, type } = this;
    const aggregator = readings[0]?.aggregator ?? 'sum';
    return { name, help, type, aggregator, values: readings.flatMap(({ values }) => values) } as never;
  }

  reset(): void {
    for (const metric of this.#parts.values()) metric.reset();
  }
}
