import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parse } from 'yaml';
import { freePort } from '../support/mongodb/process.js';
import { typeCheck } from '../support/package.js';
import { ServerProcess } from '../support/process.js';
import { makeFolder, writeFiles } from '../support/server.js';

const project = fileURLToPath(new URL('../../../', import.meta.url));
const docs = join(project, 'docs');
/** Of @grafana/schema: the model of dashboards that Grafana imports. */
const schema = './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, every }) {
    router.get('/', (ctx) => { ctx.body = 'fine'; });
    router.get('/wrong', () => { throw new Error('as asked'); });
    every('tidy', '1 s', async () => {});
  },
});`;

describe('docs/grafana.json', () => {
  it("is a dashboard of Grafana's published schema", async () => {
    const folder = await makeFolder();
    try {
      const json = await readFile(join(docs, 'grafana.json'), 'utf8');
      await symlink(join(project, 'node_modules'), join(folder, 'node_modules'));
      const text = `import type { Dashboard } from '${schema}';\nexport const dashboard: Dashboard = ${json};\n`;
      expect(await typeCheck(folder, { 'dashboard.ts': text })).to.equal('');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

interface Rule {
  readonly name: string;
  readonly query: string;
  readonly health: string;
  readonly state: string;
  readonly lastError?: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface FiringAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Prometheus has no series of these while nothing goes wrong. */
const onlyOfFailures = new Set(['PluginServerStoreErrors', 'PluginServerJobsFail']);

interface Alert {
  readonly alert: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

interface Firing {
  /** Series as `promtool test rules` writes them, a value a minute, and whether the alert fires for them. */
  readonly series: Readonly<Record<string, string>>;
  /** Minutes after the start. */
  readonly at: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly summary: string;
  /** The same series, while nothing is wrong. */
  readonly fine: Readonly<Record<string, string>>;
}

const on = 'job="plugin-server",instance="a"';
const requests = (status: number) =>
  `http_server_request_duration_seconds_count{${on},http_response_status_code="${status}"}`;
const bucket = (le: string) => `http_server_request_duration_seconds_bucket{${on},le="${le}"}`;
const failures = `plugin_server_reloads_total{${on},outcome="failure"}`;
const dropped = `plugin_server_log_lines_dropped_total{${on},kind="access"}`;
const runs = `plugin_server_job_runs_total{${on},plugin="shop",exported_job="tidy",outcome="error"}`;
const job = { job: 'plugin-server', instance: 'a' };

/** What each alert is for. */
const firings: Readonly<Record<string, Firing>> = {
  PluginServerDown: {
    series: { [`up{${on}}`]: '1 0x5' },
    fine: { [`up{${on}}`]: '1 0 1x4' },
    at: 4,
    labels: job,
    summary: 'a does not respond to scrapes.',
  },
  PluginServerNotReady: {
    series: { [`plugin_server_plugin_ready{${on},plugin="sessman"}`]: '0x5' },
    fine: { [`plugin_server_plugin_ready{${on},plugin="sessman"}`]: '0 1x5' },
    at: 3,
    labels: { ...job, plugin: 'sessman' },
    summary: 'Plugin sessman of a is not ready.',
  },
  PluginServerWorkersMissing: {
    series: { [`plugin_server_workers_unanswered{${on}}`]: '2x5' },
    fine: { [`plugin_server_workers_unanswered{${on}}`]: '2 0x5' },
    at: 3,
    labels: job,
    summary: '2 workers of a do not respond.',
  },
  PluginServerErrors: {
    series: { [requests(200)]: '0+90x15', [requests(503)]: '0+10x15' },
    fine: { [requests(200)]: '0+99x15', [requests(503)]: '0+1x15' },
    at: 14,
    summary: '10% of the responses of a are errors of the server.',
  },
  PluginServerSlow: {
    series: { [bucket('1')]: '0+90x20', [bucket('2.5')]: '0+100x20', [bucket('+Inf')]: '0+100x20' },
    fine: { [bucket('1')]: '0+100x20', [bucket('2.5')]: '0+100x20', [bucket('+Inf')]: '0+100x20' },
    at: 18,
    summary: 'One request in 100 to a takes longer than 2.35s.',
  },
  PluginServerEventLoopBlocked: {
    series: { [`nodejs_eventloop_lag_p99_seconds{${on}}`]: '0.75x10' },
    fine: { [`nodejs_eventloop_lag_p99_seconds{${on}}`]: '0.01x10' },
    at: 8,
    labels: job,
    summary: 'The event loops of a are held for 750ms.',
  },
  PluginServerWorkerRestarts: {
    series: { [`plugin_server_worker_restarts_total{${on}}`]: '0+1x20' },
    fine: { [`plugin_server_worker_restarts_total{${on}}`]: '0x10 1x10' },
    at: 16,
    labels: job,
    summary: 'a replaced 15 workers within 15 minutes.',
  },
  PluginServerReloadFailed: {
    series: { [failures]: '0x5 1x10' },
    fine: { [failures]: '1x15' },
    at: 8,
    labels: { ...job, outcome: 'failure' },
    summary: 'A reload of a failed; the old configuration serves on.',
  },
  PluginServerStoreErrors: {
    series: { [`sessman_store_errors_total{${on}}`]: '0+3x10' },
    fine: { [`sessman_store_errors_total{${on}}`]: '3x10' },
    at: 8,
    summary: 'The session store of a fails.',
  },
  PluginServerClock: {
    series: {
      [`sessman_clock_skew_seconds{${on}}`]: '-90x3',
      [`sessman_clock_doubtful{${on}}`]: '0x3',
    },
    fine: {
      [`sessman_clock_skew_seconds{${on}}`]: '-3x3',
      [`sessman_clock_doubtful{${on}}`]: '0x3',
    },
    at: 2,
    labels: job,
    summary: 'The clock of a and that of its session store differ, or one of them has jumped.',
  },
  PluginServerOldReader: {
    series: { [`sessman_store_oldest_reader_seconds{${on}}`]: '5400x3' },
    fine: { [`sessman_store_oldest_reader_seconds{${on}}`]: '5x3' },
    at: 2,
    labels: job,
    summary: 'A reader has kept the embedded store of a open for 1h 30m 0s.',
  },
  PluginServerStoreDamaged: {
    series: {
      [`sessman_store_scrub_damaged{${on}}`]: '0x3',
      [`sessman_store_scrub_contested_pages{${on}}`]: '22x3',
    },
    fine: {
      [`sessman_store_scrub_damaged{${on}}`]: '0x3',
      [`sessman_store_scrub_contested_pages{${on}}`]: '0x3',
    },
    at: 2,
    labels: job,
    summary: 'The last scrub of the embedded store of a found damage.',
  },
  PluginServerMemory: {
    series: { [`plugin_server_worker_memory_bytes{${on},worker="7"}`]: '1e9+10000000x120' },
    fine: { [`plugin_server_worker_memory_bytes{${on},worker="7"}`]: '1e9x120' },
    at: 100,
    labels: { ...job, worker: '7' },
    summary: 'Worker 7 of a will use over 2 GB within four hours.',
  },
  PluginServerLogLinesDropped: {
    series: { [dropped]: '0x5 900x10' },
    fine: { [dropped]: '900x15' },
    at: 8,
    labels: { ...job, kind: 'access' },
    summary: 'a could not write log lines of the kind access.',
  },
  PluginServerJobsFail: {
    series: { [runs]: '0+1x60' },
    fine: { [runs]: '0x30 1x30' },
    at: 59,
    labels: { instance: 'a', plugin: 'shop', exported_job: 'tidy' },
    summary: 'Job tidy of plugin shop fails.',
  },
};

describe('docs/alerts.yml', () => {
  it('has alerts that fire when they should, and only then', async function () {
    if (spawnSync('promtool', ['--version']).error) this.skip();
    const folder = await makeFolder();
    try {
      const file = join(docs, 'alerts.yml');
      const { groups } = parse(await readFile(file, 'utf8')) as { groups: { rules: Alert[] }[] };
      const alerts = groups.flatMap(({ rules }) => rules);
      expect(alerts.map(({ alert }) => alert)).to.have.members(Object.keys(firings));
      const tests = alerts.flatMap(({ alert, labels, annotations: { runbook } }) => {
        const { series, fine, at, labels: ofSeries = { instance: 'a' }, summary } = firings[alert]!;
        const fires = [{ exp_labels: { ...ofSeries, ...labels }, exp_annotations: { summary, runbook } }];
        return [[series, fires] as const, [fine, []] as const].map(([input, exp_alerts]) => ({
          interval: '1m',
          input_series: Object.entries(input).map(([name, values]) => ({ series: name, values })),
          alert_rule_test: [{ eval_time: `${at}m`, alertname: alert, exp_alerts }],
        }));
      });
      await writeFiles(folder, {
        'tests.json': JSON.stringify({ rule_files: [file], evaluation_interval: '1m', tests }),
      });
      const run = spawnSync('promtool', ['test', 'rules', 'tests.json'], { cwd: folder, encoding: 'utf8' });
      expect(run.status, run.stdout + run.stderr).to.equal(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a Prometheus that scrapes the server', () => {
  let folder: string;
  let server: ServerProcess;
  let prometheus: ChildProcess;
  let url: string;

  before(async function () {
    if (spawnSync('promtool', ['--version']).error || spawnSync('prometheus', ['--version']).error)
      this.skip();
    folder = await makeFolder();
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    server = await ServerProcess.start({
      ini: '[network]\nworkers=int:2\n[paths]\npidfile=pid\n',
      files: { 'plugins/hello.mjs': plugin },
    });
    await writeFiles(folder, {
      'prometheus.yml': `
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [${JSON.stringify(join(docs, 'alerts.yml'))}]
scrape_configs:
  - job_name: plugin-server
    static_configs: [{ targets: ['${new URL(server.url).host}'] }]
`,
    });
    const flags = ['--config.file=prometheus.yml', '--storage.tsdb.path=data', '--log.level=error'];
    prometheus = spawn('prometheus', [...flags, `--web.listen-address=127.0.0.1:${port}`], {
      cwd: folder,
      stdio: 'inherit',
    });
  });

  after(async () => {
    if (prometheus !== undefined && prometheus.exitCode === null) {
      prometheus.kill();
      await once(prometheus, 'exit');
    }
    await server?.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const api = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${url}/api/v1/${path}`);
    if (response.status === 503) throw new Error('Prometheus starts', { cause: response.status });
    const answer = (await response.json()) as { status: string; error?: string; data: T };
    expect(answer.status, `${decodeURIComponent(path)}: ${answer.error}`).to.equal('success');
    return answer.data;
  };
  const series = async (query: string) =>
    (await api<{ result: unknown[] }>(`query?query=${encodeURIComponent(query)}`)).result;
  /** Asks until the answer fits. Mocha's timeout ends it. */
  const until = async <T>(ask: () => Promise<T>, fits: (answer: T) => boolean): Promise<T> => {
    for (;;) {
      const answer = await ask().catch((error: Error) => {
        if (error.cause === undefined) throw error;
      });
      if (answer !== undefined && fits(answer)) return answer;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const traffic = async () => {
    for (const path of ['/hello', '/hello/wrong', '/nowhere', '/sessman/new?userid=ann'])
      await server.fetch(path, { method: path.startsWith('/sessman') ? 'POST' : 'GET' });
  };
  const rules = async () =>
    (await api<{ groups: { rules: Rule[] }[] }>('rules')).groups.flatMap((group) => group.rules);

  it('gets series for every query of the dashboard', async () => {
    const dashboard = JSON.parse(await readFile(join(docs, 'grafana.json'), 'utf8')) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => ({
        title,
        query: expr.replaceAll('$__rate_interval', '10s').replaceAll('$instance', '.+'),
      })),
    );
    expect(queries).to.have.length.above(20);
    await until(
      () => series('up == 1'),
      ({ length }) => length === 1,
    );
    for (const { title, query } of queries) {
      await until(
        async () => {
          await traffic();
          return series(query);
        },
        ({ length }) => length > 0,
      ).catch((error: Error) => expect.fail(`${title}: ${error.message}`));
    }
  });

  it('evaluates every alert of docs/alerts.yml, on metrics that are there, with a runbook', async () => {
    const check = spawnSync('promtool', ['check', 'rules', join(docs, 'alerts.yml')], { encoding: 'utf8' });
    expect(check.status, check.stderr).to.equal(0);
    const all = await until(rules, (found) => found.every(({ health }) => health !== 'unknown'));
    expect(all).to.have.length.above(10);
    for (const { name, query, health, lastError, annotations } of all) {
      expect(health, `${name}: ${lastError}`).to.equal('ok');
      expect(annotations.runbook, name).to.match(/\.$/);
      if (onlyOfFailures.has(name)) continue;
      const value = query.replace(/ (?:==|>|<) [\d.e+]+$/, '');
      expect(value, name).to.not.equal(query);
      await until(
        () => series(value.replaceAll(/\[\d+[mh]\]/g, '[10s]')),
        ({ length }) => length > 0,
      ).catch((error: Error) => expect.fail(`${name}: ${error.message}`));
    }
  });

  it('fires PluginServerReloadFailed after a reload that failed', async () => {
    const failed = async () =>
      (await api<{ alerts: FiringAlert[] }>('alerts')).alerts.find(
        ({ labels }) => labels.alertname === 'PluginServerReloadFailed',
      );
    expect(await failed()).to.equal(undefined);
    await server.write('plugin-server.ini', '[paths]\npidfile=pid\n[netwrok]\n');
    const refused = server.next('not reloaded');
    server.signal('SIGHUP');
    await refused;
    const alert = await until(failed, (found) => found?.state === 'firing');
    expect(alert?.labels).to.include({ outcome: 'failure', severity: 'warning' });
    expect(alert?.annotations.summary).to.match(/^A reload of 127\.0\.0\.1:\d+ failed/);
  });
});
