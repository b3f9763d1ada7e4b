import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';
import { startServer } from '../../support/server.js';

/** A module as an operator preloads it, of this project's packages. The spans wait until they are flushed. */
const preloaded = (more = '') => `
import { BatchSpanProcessor, NodeTracerProvider } from '${urlOf('@opentelemetry/sdk-trace-node')}';
import { OTLPTraceExporter } from '${urlOf('@opentelemetry/exporter-trace-otlp-http')}';
const exporter = new OTLPTraceExporter({ url: process.env.COLLECTOR });
const processor = new BatchSpanProcessor(exporter, { scheduledDelayMillis: 600_000, maxQueueSize: 100_000 });
new NodeTracerProvider({ spanProcessors: [processor] }).register();
process.stderr.write('preloaded in ' + process.pid + '\\n');
${more}`;

const instrumented = preloaded(`
import { HttpInstrumentation } from '${urlOf('@opentelemetry/instrumentation-http')}';
new HttpInstrumentation().enable();
`);

const plugin = `
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { definePlugin } from 'plugin-server';
const { trace } = createRequire('${import.meta.url}')('@opentelemetry/api');
export default definePlugin({
  setup({ router, log, storage }) {
    const values = storage('values');
    router.get('/named/:id', async (ctx) => {
      await values.update('seven', () => 7);
      const span = trace.getTracer('talker').startSpan('own');
      log.info({ id: ctx.params.id }, 'from the setup\\'s log');
      ctx.log.info('from ctx.log');
      span.end();
      ctx.body = { pid: process.pid, value: await values.get('seven') };
    });
    router.get('/stream', (ctx) => { ctx.body = Readable.from(['a stream']); });
    router.get('/fails', () => { throw new TypeError('a fault'); });
  },
});`;

function urlOf(name: string): string {
  return pathToFileURL(createRequire(import.meta.url).resolve(name)).href;
}

interface ReceivedSpan {
  /** What made it. */
  readonly scope: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: { readonly code?: number };
}

/** Of OTLP. */
const kinds = { internal: 1, server: 2 };
const failed = 2;

/** Receives OTLP over HTTP as JSON (opentelemetry.io/docs/specs/otlp). */
class Collector {
  readonly spans: ReceivedSpan[] = [];
  private constructor(readonly server: Server) {}

  static async start(): Promise<Collector> {
    const server = createServer(async (req, res) => {
      let text = '';
      for await (const part of req.setEncoding('utf8')) text += part;
      for (const { scopeSpans } of JSON.parse(text).resourceSpans)
        for (const { scope, spans } of scopeSpans)
          for (const span of spans)
            collector.spans.push({ ...span, scope: scope.name, attributes: attributesOf(span) });
      res.setHeader('Content-Type', 'application/json').end('{}');
    }).listen(0, '127.0.0.1');
    const collector = new Collector(server);
    await once(server, 'listening');
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1/traces`;
  }

  /** The server spans of a request. */
  of(id: string): ReceivedSpan[] {
    return this.spans.filter(({ attributes }) => attributes['plugin_server.request_id'] === id);
  }

  below({ spanId }: ReceivedSpan): ReceivedSpan[] {
    return this.spans.filter(({ parentSpanId }) => parentSpanId === spanId);
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

function attributesOf(span: { attributes: { key: string; value: Record<string, unknown> }[] }) {
  return Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

const trace = '0af7651916cd43dd8448eb211c80319c';
const parent = 'b7ad6b7169203331';

describe('tracing', () => {
  let collector: Collector;
  before(async () => {
    collector = await Collector.start();
  });
  after(() => collector.close());

  const start = (otel: string, ini = '') =>
    ServerProcess.start({
      ini: `[main]\nsafe=list:talker sessman\n[network]\n${ini}`,
      files: { 'plugins/talker.mjs': plugin, 'otel.mjs': otel },
      args: ['--safe', '--import', './otel.mjs'],
      env: { COLLECTOR: collector.url },
    });
  /** From an address of this machine's own choice, since trust goes by address. */
  const get = async (
    server: ServerProcess,
    path: string,
    id: string,
    headers = {},
    localAddress = '127.0.0.1',
  ) => {
    const options = { agent: false, localAddress, headers: { 'X-Request-Id': id, ...headers } };
    const [response] = (await once(request(server.url + path, options).end(), 'response')) as [
      IncomingMessage,
    ];
    response.resume();
    await once(response, 'end');
    return response.statusCode;
  };

  describe('with OpenTelemetry preloaded', () => {
    const reloads = Number(process.env.TRACED_RELOADS ?? 2);
    let server: ServerProcess;
    before(async () => {
      server = await start(preloaded(), 'workers=int:2\nproxy=list:127.0.0.1\n');
      const caller = (flags: string) => ({ traceparent: `00-${trace}-${parent}-${flags}` });
      await get(server, '/talker/named/7?apikey=hush', 'trusted', caller('01'));
      await get(server, '/talker/named/7', 'stranger', caller('00'), '127.0.0.2');
      await get(server, '/talker/named/7', 'unsampled', caller('00'));
      await get(server, '/talker/fails', 'failing');
      await get(server, '/nothing', 'nowhere');
      const made = await server.fetch('/sessman/new?userid=ann', { method: 'POST' });
      const { session_id } = (await made.json()) as { session_id: string };
      await get(server, '/sessman/get', 'session', { 'X-Session-Id': session_id });
      let done = false;
      let sent = 0;
      const traffic = async () => {
        for (; !done; sent += 1)
          expect(await get(server, '/talker/named/1', `traffic-${sent}`)).to.equal(200);
      };
      const sending = traffic();
      for (let i = 0; i < reloads; i += 1) {
        const reloaded = server.next('reloaded');
        server.signal('SIGHUP');
        await reloaded;
      }
      done = true;
      await sending;
      requests = sent;
      server.signal('SIGTERM');
      await server.exited;
    });
    after(() => server.close());
    let requests: number;

    const only = (id: string) => {
      const spans = collector.of(id);
      expect(spans, id).to.have.length(1);
      return spans[0]!;
    };

    it('gives each request one server span, with the template of its route and its plugin', () => {
      const span = only('trusted');
      expect(span).to.include({ name: 'GET /talker/named/:id', kind: kinds.server });
      expect(span.attributes).to.include({
        'http.request.method': 'GET',
        'http.route': '/talker/named/:id',
        'http.response.status_code': 200,
        'url.path': '/talker/named/7',
        'url.scheme': 'http',
        'network.protocol.version': '1.1',
        'client.address': '127.0.0.1',
        'plugin_server.plugin': 'talker',
      });
      expect(JSON.stringify(span)).not.to.include('hush');
      expect(only('nowhere')).to.include({ name: 'GET' });
      expect(only('failing').status.code).to.equal(failed);
      expect(only('failing').attributes).to.include({ 'error.type': 'TypeError' });
    });

    it('continues the trace of a trusted proxy, whose word on sampling counts', () => {
      expect(only('trusted')).to.include({ traceId: trace, parentSpanId: parent });
      expect(collector.of('unsampled')).to.be.empty;
    });

    it('begins a trace for a stranger, with a link to the caller', () => {
      const span = only('stranger');
      expect(span.traceId).not.to.equal(trace);
      expect(span.parentSpanId ?? '').to.equal('');
      expect(span.links).to.have.length(1);
      expect(span.links![0]).to.include({ traceId: trace, spanId: parent });
    });

    it('has spans of its store, of the storage of plugins and of plugins below it', () => {
      const [read] = collector.below(only('session'));
      expect(read).to.include({ name: 'read sessions', kind: kinds.internal });
      expect(read!.attributes).to.include({ 'db.system.name': 'lmdb', 'db.operation.name': 'read' });
      const names = collector.below(only('trusted')).map(({ name }) => name);
      expect(names).to.include.members(['write talker/values', 'read talker/values', 'own']);
    });

    it('has its ids in each log line of the request', () => {
      const { traceId: trace_id, spanId: span_id } = only('trusted');
      const lines = server.logs.filter((line) => line.trace_id === trace_id && line.span_id === span_id);
      expect(lines.map(({ msg }) => msg)).to.have.members([
        "from the setup's log",
        'from ctx.log',
        'request',
      ]);
      const failure = server.logs.find(({ msg }) => msg === 'request failed')!;
      expect(failure).to.include({ trace_id: only('failing').traceId, span_id: only('failing').spanId });
    });

    it('is loaded in workers alone', () => {
      const pids = [...server.stderr.matchAll(/preloaded in (\d+)/g)].map(([, pid]) => Number(pid));
      expect(pids)
        .to.have.length(2 * (reloads + 1))
        .and.not.to.include(server.pid);
    });

    it(`loses no span over ${reloads} reloads and a stop`, () => {
      const ids = new Set(collector.spans.map(({ attributes }) => attributes['plugin_server.request_id']));
      const lost = Array.from({ length: requests }, (_, i) => `traffic-${i}`).filter((id) => !ids.has(id));
      expect(lost).to.be.empty;
      expect(requests).to.be.above(10);
    });
  });

  it('adds no second server span to that of an instrumentation of node:http', async () => {
    const server = await start(instrumented);
    try {
      await get(server, '/talker/named/7', 'named');
      await get(server, '/talker/stream', 'stream');
      await get(server, '/talker/fails', 'fails');
      server.signal('SIGTERM');
      await server.exited;
    } finally {
      await server.close();
    }
    for (const [id, route] of [
      ['named', '/talker/named/:id'],
      ['stream', '/talker/stream'],
      ['fails', '/talker/fails'],
    ]) {
      const [span, ...others] = collector.of(id!);
      expect(others).to.be.empty;
      expect(span).to.include({
        scope: '@opentelemetry/instrumentation-http',
        name: `GET ${route}`,
        kind: kinds.server,
      });
      expect(span!.attributes).to.include({ 'http.route': route, 'plugin_server.plugin': 'talker' });
      const ofTrace = collector.spans.filter(({ traceId }) => traceId === span!.traceId);
      expect(ofTrace.filter(({ kind }) => kind === kinds.server)).to.have.length(1);
      if (id === 'named') expect(collector.below(span!).map(({ name }) => name)).to.include('own');
    }
  });

  it('leaves an API of another major version alone', async () => {
    const api = Symbol.for('opentelemetry.js.api.1');
    const before = Object.getOwnPropertyDescriptor(globalThis, api);
    Object.defineProperty(globalThis, api, { value: { version: '2.0.0', trace: {} }, configurable: true });
    try {
      const server = await startServer();
      expect((await server.fetch('/livez')).status).to.equal(200);
      await server.close();
    } finally {
      delete (globalThis as Record<symbol, unknown>)[api];
      if (before !== undefined) Object.defineProperty(globalThis, api, before);
    }
  });
});
