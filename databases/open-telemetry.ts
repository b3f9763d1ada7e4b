/**
 * OpenTelemetry, if the operator has installed and preloaded it: found through the object that @opentelemetry/api registers for
 * all copies of itself in a process, so that no package of it is a dependency. Members are named as in that package.
 */

/** The members of @opentelemetry/api that are used here; each is there since its version 1.0. */
interface Api {
  readonly version: string;
  readonly trace?: TracerProvider;
  readonly context?: ContextManager;
  readonly propagation?: Propagator;
}

interface TracerProvider {
  getTracer(name: string, version?: string): Tracer;
  /** Of the proxy that is registered: the provider of the SDK. */
  getDelegate?(): TracerProvider;
  /** Of the SDK's provider. */
  forceFlush?(): Promise<void>;
}

interface Tracer {
  startSpan(name: string, options: SpanOptions, context: Context): Span;
}

interface ContextManager {
  active(): Context;
  with<Result>(context: Context, run: () => Result): Result;
}

interface Propagator {
  extract(context: Context, carrier: Headers, getter: typeof headerGetter): Context;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface SpanOptions {
  readonly kind: number;
  readonly attributes: Attributes;
  readonly root?: boolean;
  readonly links?: readonly { readonly context: SpanContext }[];
}

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
}

export interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

export interface Span {
  spanContext(): SpanContext;
  setAttribute(name: string, value: string | number | boolean): unknown;
  setStatus(status: { readonly code: number; readonly message?: string }): unknown;
  updateName(name: string): unknown;
  end(): void;
}

/** SpanKind and SpanStatusCode of the API. */
export const SpanKind = { internal: 0, server: 1, client: 2 } as const;
const STATUS_ERROR = 2;

const API = Symbol.for('opentelemetry.js.api.1');
/** Under which all copies of the API keep the active span in a context. */
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');

const headerGetter = {
  get: (headers: Headers, name: string) => headers[name],
  keys: (headers: Headers) => Object.keys(headers),
};

const EMPTY: Context = contextOf(new Map());

/** Undefined where no tracing is registered. Call it once the operator's code has been loaded. */
export function openTelemetry(): OpenTelemetry | undefined {
  const api = (globalThis as { [API]?: Api })[API];
  // As the API itself judges it: the same major version, and no prerelease.
  if (api?.trace === undefined || !/^1\.\d+\.\d+$/.test(api.version)) return undefined;
  return new OpenTelemetry(api, api.trace);
}

export class OpenTelemetry {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #context: ContextManager | undefined;
  readonly #propagation: Propagator | undefined;

  constructor({ context, propagation }: Api, provider: TracerProvider) {
    this.#provider = provider;
    this.#tracer = provider.getTracer('plugin-server');
    this.#context = context;
    this.#propagation = propagation;
  }

  /** The context of the running code. */
  active(): Context {
    return this.#context?.active() ?? EMPTY;
  }

  /** Calls `run` with this context as the active one, then and in all that it awaits. */
  within<Result>(context: Context, run: () => Result): Result {
    return this.#context === undefined ? run() : this.#context.with(context, run);
  }

  spanOf(context: Context): Span | undefined {
    return context.getValue(SPAN) as Span | undefined;
  }

  withSpan(context: Context, span: Span): Context {
    return context.setValue(SPAN, span);
  }

  /** The context with what the headers of a request say of its caller. */
  extract(context: Context, headers: Headers): Context {
    return this.#propagation?.extract(context, headers, headerGetter) ?? context;
  }

  startSpan(name: string, options: SpanOptions, context: Context): Span {
    return this.#tracer.startSpan(name, options, context);
  }

  /**
   * Calls `run` in a span below the active one. Without an active span there is none: what a server does by itself, such as
   * removing expired values, would be a trace each time.
   */
  inChild<Result>(name: string, kind: number, attributes: Attributes, run: () => Result): Result {
    const active = this.active();
    if (this.spanOf(active) === undefined) return run();
    const span = this.startSpan(name, { kind, attributes }, active);
    const fail = (error: unknown): never => {
      span.setAttribute('error.type', errorType(error));
      span.setStatus({ code: STATUS_ERROR });
      span.end();
      throw error;
    };
    let result: Result;
    try {
      result = this.within(this.withSpan(active, span), run);
    } catch (error) {
      return fail(error);
    }
    if (!(result instanceof Promise)) {
      span.end();
      return result;
    }
    return result.then((value) => {
      span.end();
      return value;
    }, fail) as Result;
  }

  /** Marks the span of a failed request. */
  markFailed(span: Span, type: string): void {
    span.setAttribute('error.type', type);
    span.setStatus({ code: STATUS_ERROR });
  }

  /** Resolves when every span that has ended has been exported. Rejects when that fails. */
  async flush(): Promise<void> {
    await (this.#provider.getDelegate?.() ?? this.#provider).forceFlush?.();
  }
}

/** The code of an error that has one, else its class: of low cardinality, as the conventions ask. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.constructor.name;
}

/** A context for an API without a context manager. */
function contextOf(values: ReadonlyMap<symbol, unknown>): Context {
  return {
    getValue: (key) => values.get(key),
    setValue: (key, value) => contextOf(new Map(values).set(key, value)),
  };
}
