import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import type { ReloadOutcome } from '../../../host/control.js';
import { startServer, type TestServer } from '../../support/server.js';

const key = { headers: { authorization: 'Bearer k' } };
const ini = '[auth]\napikey=k\n[plugin_parms]\nbroken=required=bool:false\nmoody=auth=none\n';
const files = {
  'plugins/moody/package.json': '{"name":"@acme/moody","version":"1.2.3","type":"module"}',
  'plugins/moody/index.js': `
    import { definePlugin, HttpError, openapi } from 'plugin-server';
    export default definePlugin({
      setup({ router, onCheck, metrics }) {
        let mood = 'good';
        const changes = metrics.counter({ name: 'moody_changes_total', help: 'Changes of mood.', labelNames: ['to'] });
        onCheck('mood', () => {
          if (mood === 'silent') return new Promise(() => {});
          if (mood === 'bad') throw new HttpError(503, 'bad_mood', 'in a bad mood');
        });
        router.post('/:mood', openapi({ summary: 'Changes the mood', operationId: 'changeMood' }), (ctx) => {
          mood = ctx.params.mood;
          changes.inc({ to: mood });
          ctx.body = { mood };
        });
      },
    });`,
  'plugins/broken.mjs': `
    import { definePlugin } from 'plugin-server';
    export default definePlugin({ setup() { throw new Error('no database'); } });`,
};

describe('the routes of the host', () => {
  let server: TestServer;
  let outcome: ReloadOutcome;
  before(async () => {
    server = await startServer({
      ini,
      files,
      control: {
        reload: async () => outcome,
        metrics: async () => [
          {
            name: 'summed',
            help: 'Sum.',
            type: 'gauge',
            aggregator: 'sum',
            values: [{ value: 3, labels: {} }],
          },
        ],
      },
    });
  });
  after(() => server.close());

  const json = async (path: string, init?: RequestInit) => {
    const response = await server.fetch(path, init);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const setMood = (mood: string) => server.fetch(`/moody/${mood}`, { method: 'POST' });

  it('/livez and /healthz answer while the process does', async () => {
    for (const path of ['/livez', '/healthz']) {
      expect(await json(path)).to.deep.equal({ status: 200, body: { status: 'ok' } });
    }
  });

  it('/readyz names the plugin and the check that are not ready', async () => {
    await setMood('bad');
    const { status, body } = await json('/readyz');
    expect(status).to.equal(503);
    expect(body).to.deep.include({ code: 'not_ready' });
    expect(body.checks).to.deep.include({ broken: 'failed', moody: 'ok', 'moody/mood': 'in a bad mood' });
    await setMood('good');
  });

  it('/readyz gives up on a check that does not settle', async () => {
    await setMood('silent');
    const { status, body } = await json('/readyz');
    expect(status).to.equal(503);
    expect(body.checks).to.deep.include({ 'moody/mood': 'no answer within 2 s' });
    await setMood('good');
  });

  it('/plugins shows each plugin, a failed one with its problem', async () => {
    const { body } = await json('/plugins', key);
    expect(body.plugins).to.deep.include.members([
      { name: 'moody', version: '1.2.3', path: '/moody', state: 'ready', problem: null },
      {
        name: 'broken',
        version: '0.0.0',
        path: '/broken',
        state: 'failed',
        problem: 'plugin "broken" failed in its setup: no database',
      },
    ]);
  });

  it('the path of a failed plugin answers 503', async () => {
    for (const path of ['/broken', '/broken/x/y']) {
      expect(await json(path)).to.deep.include({ status: 503 });
    }
  });

  it('/reload answers as the reload ends', async () => {
    outcome = { success: true };
    for (const [path, method] of [
      ['/reload/moody', 'POST'],
      ['/reload/all', 'GET'],
    ] as const) {
      const { status, body } = await json(path, { ...key, method });
      expect(status).to.equal(200);
      expect(body).to.deep.equal({ reloaded: path.split('/')[2], success: true });
    }
    const position = { file: `${server.folder}/plugin-server.ini`, line: 2, column: 1 };
    outcome = {
      success: false,
      reason: 'The configuration is wrong.',
      problems: [{ position, message: 'm', hint: 'h', source: 's' }],
    };
    const { status, body } = await json('/reload/moody', key);
    expect(status).to.equal(422);
    expect(body).to.deep.include({
      error: 'The configuration is wrong.',
      code: 'reload_failed',
      success: false,
      problems: [
        {
          file: 'plugin-server.ini',
          line: 2,
          column: 1,
          message: 'm',
          hint: 'h',
          source: 's',
          caret: 0,
          length: 1,
        },
      ],
    });
  });

  it('/reload knows the plugins', async () => {
    const { status, body } = await json('/reload/mody', key);
    expect(status).to.equal(404);
    expect(body.error).to.include('moody');
  });

  it('/metrics is what the process around says of all workers', async () => {
    expect(await (await server.fetch('/metrics', key)).text()).to.equal(
      '# HELP summed Sum.\n# TYPE summed gauge\nsummed 3\n',
    );
  });

  it('/openapi.json is valid OpenAPI 3.1 and has the routes of plugins, described or not', async () => {
    const { body } = await json('/openapi.json');
    const result = await new Validator().validate(body);
    expect(result.valid, JSON.stringify(result.errors)).to.equal(true);
    expect(body.openapi).to.match(/^3\.1\./);
    const paths = body.paths as Record<string, Record<string, Record<string, unknown>>>;
    expect(paths['/moody/{mood}']!.post).to.deep.include({ summary: 'Changes the mood', security: [] });
    expect(paths['/plugins']!.get).to.deep.include({ security: [{ bearer: [] }, { customHeader: [] }] });
  });
});

describe('metrics of one process', () => {
  it('count requests by plugin, route, status and method, and hold what plugins add', async () => {
    const server = await startServer({
      files: {
        'plugins/moody/index.js': files['plugins/moody/index.js'],
        'plugins/moody/package.json': '{"type":"module"}',
      },
    });
    try {
      await server.fetch('/moody/fine', { method: 'POST' });
      await server.fetch('/moody/fine', { method: 'POST' });
      await server.fetch('/moody/fine', { method: 'PROPFIND' });
      await server.fetch('/nope');
      const response = await server.fetch('/metrics');
      expect(response.headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
      const lines = (await response.text()).split('\n');
      const count = 'http_server_request_duration_seconds_count';
      const labels = (method: string, status: number, route: string, plugin: string) =>
        `{http_request_method="${method}",http_response_status_code="${status}",http_route="${route}",plugin="${plugin}",url_scheme="http"}`;
      expect(lines).to.include(`${count}${labels('POST', 200, '/moody/:mood', 'moody')} 2`);
      expect(lines).to.include(`${count}${labels('_OTHER', 405, '', 'moody')} 1`);
      expect(lines).to.include(`${count}${labels('GET', 404, '', '')} 1`);
      // What nobody has called, such as the routes of sessman, has no lines.
      const called = lines.flatMap(
        (line) => new RegExp(`^${count}.*http_route="([^"]*)"`).exec(line)?.[1] ?? [],
      );
      expect(new Set(called)).to.deep.equal(new Set(['', '/moody/:mood']));
      expect(lines).to.include('http_server_active_requests{url_scheme="http"} 1');
      expect(lines).to.include('moody_changes_total{to="fine",plugin="moody"} 2');
      expect(lines.some((line) => line.startsWith('process_resident_memory_bytes '))).to.equal(true);
      expect(lines.some((line) => line.startsWith('nodejs_eventloop_lag_seconds '))).to.equal(true);
      await negotiates(server);
    } finally {
      await server.close();
    }
  });
});

/** The formats and encodings of /metrics (https://prometheus.io/docs/specs/om/open_metrics_spec/). */
async function negotiates(server: TestServer): Promise<void> {
  const openMetrics = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
  const plain = 'text/plain; version=0.0.4; charset=utf-8';
  const read = async (accept?: string, encoding = 'identity') => {
    const headers = { ...(accept && { accept }), 'accept-encoding': encoding };
    const response = await server.fetch('/metrics', { headers });
    expect(response.status).to.equal(200);
    expect(response.headers.get('vary')).to.equal('Accept, Accept-Encoding');
    return { response, type: response.headers.get('content-type'), text: await response.text() };
  };

  const wishes: Record<string, string> = {
    // Of Prometheus 2 and 3.
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1':
      openMetrics,
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1':
      openMetrics,
    'application/openmetrics-text; version=1.0.0; q=0.2, text/plain; version=0.0.4; q=0.5': plain,
    'application/openmetrics-text; version=1.0.0; q=0, */*': plain,
    'application/openmetrics-text; version=2.0.0, text/plain; q=0.1': plain,
    '*/*': plain,
    'application/json': plain,
  };
  for (const [accept, type] of Object.entries(wishes))
    expect((await read(accept)).type, accept).to.equal(type);

  const { text } = await read(openMetrics);
  const lines = text.split('\n');
  expect(lines.slice(-2)).to.deep.equal(['# EOF', '']);
  expect(lines).to.include.members([
    '# TYPE moody_changes counter',
    'moody_changes_total{to="fine",plugin="moody"} 2',
    '# TYPE http_server_request_duration_seconds histogram',
    '# UNIT http_server_request_duration_seconds seconds',
    '# UNIT process_resident_memory_bytes bytes',
  ]);
  expect(text).to.match(/_bucket\{le="1\.0",http_request_method="POST"/);
  expect(text).not.to.match(/_total_total|\n\n|# (?:TYPE|HELP) process_cpu_seconds_total/);

  // fetch decompresses.
  const zipped = await read(openMetrics, 'gzip;q=0.5, identity;q=0.1');
  expect(zipped.response.headers.get('content-encoding')).to.equal('gzip');
  expect(zipped.text).to.match(/# EOF\n$/);
  expect(Number(zipped.response.headers.get('content-length'))).to.be.below(text.length / 4);
  expect((await read(undefined, 'gzip;q=0, *')).response.headers.get('content-encoding')).to.equal(null);
}
