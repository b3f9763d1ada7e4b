import { Router } from '@koa/router';
import type Koa from 'koa';
import type { Control } from '../control.js';
import { placedProblem } from '../diagnostics/placed-problem.js';
import { type Operation, openapi } from '../kit/operation.js';
import type { PluginUnit } from '../lifecycle/plugin-unit.js';
import type { Metrics } from '../monitor/metrics.js';
import type { KeyRing } from './api-key.js';
import { hostError } from './errors.js';
import { readiness } from './health.js';
import { answerMetrics } from './metrics-answer.js';
import type { Mount } from './mounts.js';
import { askerOf, requireControl } from './server-view.js';
import { JSON_TYPE } from './socket/response.js';

/** A route of the host, and who may use it where operators have their own address. */
export interface HostRoute {
  readonly mount: Mount;
  readonly audience: 'everybody' | 'operators';
  /** It needs no plugin: the process at the address for operators, which runs none, responds itself. */
  readonly needsNoPlugin?: true;
}

export interface HostRoutesOptions {
  /** In place of the plugins' own names. */
  readonly names?: readonly string[] | undefined;
  readonly plugins: readonly PluginUnit[];
  readonly isStopping: () => boolean;
  /** The global keys; undefined when none is set. */
  readonly keys: KeyRing | undefined;
  readonly metrics: Metrics;
  readonly control: Control | undefined;
  /** The document at /openapi.json. */
  readonly openapi: () => object;
  /** Problems name files relative to this folder. */
  readonly folder: string;
}

/** The host's own routes, by path. */
export function hostRoutes(options: HostRoutesOptions): HostRoute[] {
  const { keys, metrics, control } = options;
  const mount = (path: string, mountKeys: KeyRing | undefined, fill: (router: Router) => void): Mount => {
    const router = new Router({ strict: true, sensitive: true });
    fill(router);
    return { name: 'plugin-server', path, router, keys: mountKeys, exact: path !== '/reload' };
  };
  const health = (path: string, fill: (router: Router) => void): HostRoute => ({
    mount: { ...mount(path, undefined, fill), always: true },
    audience: 'everybody',
  });
  const forOperators = (given: Mount): HostRoute => ({ mount: given, audience: 'operators' });
  const alive: Koa.Middleware = (ctx) => {
    ctx.body = { status: 'ok' };
  };
  const reload = async (ctx: Koa.Context) => {
    ctx.body = await reloadPlugin(ctx, options);
  };
  let document: string | undefined;
  return [
    {
      ...health('/livez', (router) => router.get('/', openapi(operations.livez), alive)),
      needsNoPlugin: true,
    },
    {
      ...health('/healthz', (router) => router.get('/', openapi(operations.healthz), alive)),
      needsNoPlugin: true,
    },
    health('/readyz', (router) => {
      router.get('/', openapi(operations.readyz), async (ctx) => {
        const { ready, failing, checks, notes } = await readiness(options.plugins, options.isStopping());
        if (!ready) {
          throw hostError(
            'not_ready',
            { failing: failing.map(([name, why]) => `${name} (${why})`).join(', ') },
            { headers: { 'Retry-After': '1' }, details: { checks } },
          );
        }
        ctx.body = 'verbose' in ctx.query ? { status: 'ready', checks, notes } : { status: 'ready' };
      });
    }),
    {
      ...forOperators({
        ...mount('/metrics', keys, (router) => {
          router.get('/', openapi(operations.metrics), async (ctx) => {
            await answerMetrics(ctx, await (control?.metrics() ?? metrics.report()));
          });
        }),
        anyHost: true,
      }),
      needsNoPlugin: true,
    },
    {
      mount: mount('/openapi.json', undefined, (router) => {
        router.get('/', openapi(operations.openapi), (ctx) => {
          // Written once: anyone may ask for it, and as often as they like.
          document ??= JSON.stringify(options.openapi());
          ctx.type = JSON_TYPE;
          ctx.body = document;
        });
      }),
      audience: 'everybody',
    },
    forOperators(
      mount('/plugins', keys, (router) => {
        router.get('/', openapi(operations.plugins), requireGlobalKey(keys), (ctx) => {
          ctx.body = { plugins: options.plugins.map(describePlugin) };
        });
      }),
    ),
    {
      ...forOperators(
        mount('/reload', keys, (router) => {
          router.get('/:name', openapi(operations.reload), requireGlobalKey(keys), reload);
          router.post('/:name', openapi(operations.reload), requireGlobalKey(keys), reload);
        }),
      ),
      needsNoPlugin: true,
    },
  ];
}

function requireGlobalKey(keys: KeyRing | undefined): Koa.Middleware {
  return (_ctx, next) => {
    if (keys !== undefined) return next();
    throw hostError('no_global_key');
  };
}

function describePlugin(plugin: PluginUnit) {
  return {
    name: plugin.name,
    version: plugin.version,
    path: plugin.path,
    state: plugin.state,
    problem: plugin.problem ?? null,
  };
}

async function reloadPlugin(ctx: Koa.Context, { plugins, control, folder, ...options }: HostRoutesOptions) {
  const { name } = ctx.params as { name: string };
  const { names = plugins.map((plugin) => plugin.name) } = options;
  if (name !== 'all' && !names.includes(name)) throw hostError('unknown_plugin', { name, names });
  const outcome = await requireControl(control).reload(askerOf(ctx));
  if (outcome.success) {
    const { unanswered = [] } = outcome;
    return { reloaded: name, success: true, ...(unanswered.length > 0 && { unanswered }) };
  }
  const problems = outcome.problems.map((problem) => placedProblem(problem, folder));
  throw hostError(
    'reload_failed',
    { reason: outcome.reason },
    { details: { reloaded: name, success: false, problems } },
  );
}

const ok = (description: string, schema: object = { type: 'object' }, example?: unknown) => ({
  description,
  content: { 'application/json': { schema, ...(example !== undefined && { example }) } },
});

const tags = ['plugin-server'];
const status = { type: 'object', required: ['status'], properties: { status: { type: 'string' } } };

const operations = {
  livez: {
    summary: 'Check that the process responds',
    tags,
    responses: { 200: ok('The process responds.', status, { status: 'ok' }) },
  },
  healthz: {
    summary: 'Same as /livez',
    tags,
    responses: { 200: ok('The process responds.', status, { status: 'ok' }) },
  },
  readyz: {
    summary: 'Check that every plugin is ready',
    tags,
    parameters: [
      {
        name: 'verbose',
        in: 'query',
        schema: { type: 'string' },
        description: 'list the checks, and what they have to say',
      },
    ],
    responses: {
      200: ok('Every plugin is ready.', status, { status: 'ready' }),
      503: {
        description: 'A plugin is not ready; `checks` says which.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  },
  metrics: {
    summary: 'Read the metrics in the Prometheus text format, or in OpenMetrics',
    tags,
    responses: {
      200: {
        description: 'The metrics of all workers.',
        content: {
          'text/plain': { schema: { type: 'string' } },
          'application/openmetrics-text': { schema: { type: 'string' } },
        },
      },
    },
  },
  openapi: { summary: 'Read this document', tags, responses: { 200: ok('An OpenAPI 3.1 document.') } },
  plugins: {
    summary: 'List the plugins and their states',
    tags,
    responses: {
      200: ok('The plugins.', {
        type: 'object',
        required: ['plugins'],
        properties: {
          plugins: {
            type: 'array',
            items: {
              type: 'object',
              properties: {
                name: { type: 'string' },
                version: { type: 'string' },
                path: { type: 'string' },
                state: { enum: ['loaded', 'setting_up', 'ready', 'closing', 'closed', 'failed'] },
                problem: { type: ['string', 'null'] },
              },
            },
          },
        },
      }),
    },
  },
  reload: {
    summary: 'Reload the configuration and every plugin',
    description:
      'Responds when the new generation serves. `name` is a plugin or `all`; either reloads everything.',
    tags,
    responses: {
      200: ok('The new generation serves.', { type: 'object' }, { reloaded: 'all', success: true }),
      422: {
        description:
          'The new configuration or a plugin has the `problems` listed; the old generation continues to serve.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  },
} satisfies Record<string, Operation>;
