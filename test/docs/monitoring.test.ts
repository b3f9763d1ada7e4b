import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
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

/** Prometheus has no series of these while nothing goes wrong. */
const onlyOfFailures = new Set(['PluginServerStoreErrors', 'PluginServerJobsFail']);

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
});
