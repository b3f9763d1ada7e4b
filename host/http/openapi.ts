import { type Operation, operationOf } from '../kit/operation.js';
import { routeOf } from '../kit/route.js';
import type { Mounted } from './mounts.js';
import { type Components, describeRoute } from './route/describe.js';
import { askedKey } from './route-key.js';

/** The methods that a Path Item Object of OpenAPI 3.1 has. Every GET also responds to HEAD. */
const METHODS = new Set(['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']);

/** An OpenAPI 3.1 document of all routes; those described by `openapi()` or `route()` in full, others by their path. */
export function openapiDocument(mounts: Iterable<Mounted>, version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  const tags = new Set<string>();
  const schemas: Components = new Map();
  for (const mount of mounts) {
    for (const layer of mount.router.stack) {
      if (typeof layer.path !== 'string') continue;
      const spec = layer.stack.map(routeOf).find((found) => found !== undefined);
      const named = [mount.name, ...layer.path.split(/\W+/)].filter(Boolean).join('_');
      const operation = {
        ...(spec && describeRoute(spec, `${layer.methods.at(-1)!.toLowerCase()}_${named}`, schemas)),
        ...layer.stack.map(operationOf).find((found) => found !== undefined),
      };
      const template = (mount.path + (layer.path === '/' ? '' : layer.path))
        .replaceAll(/[{}]/g, '')
        .replaceAll(/[:*](\w+)/g, '{$1}');
      const needsKey =
        (mount.keys !== undefined && !mount.checksKeys) || askedKey(mount.router, layer) !== undefined;
      for (const method of layer.methods) {
        if (!METHODS.has(method)) continue;
        const described = {
          ...describe(operation, mount, template, method),
          security: needsKey ? [{ bearer: [] }, { customHeader: [] }] : [],
        };
        for (const tag of described.tags ?? []) tags.add(tag);
        paths[template] = { ...paths[template], [method.toLowerCase()]: described };
      }
    }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'plugin-server',
      version,
      description: 'The routes of this server and of its plugins.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: [...tags].map((name) => ({ name })),
    paths,
    components: {
      schemas: {
        Error: {
          type: 'object',
          required: ['error', 'code', 'request_id'],
          properties: {
            error: { type: 'string', description: 'a sentence for people to read' },
            code: {
              type: 'string',
              description: 'a fixed name for programs to compare',
              pattern: '^[a-z][a-z0-9_]*$',
            },
            request_id: { type: 'string', description: 'the X-Request-Id of the response, also in the log' },
          },
        },
        ...Object.fromEntries(schemas),
      },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'the API key' },
        customHeader: { type: 'apiKey', in: 'header', name: 'X-Custom-Auth' },
      },
    },
  };
}

function describe(operation: Operation, mount: Mounted, template: string, method: string) {
  const written = operation.parameters ?? [];
  const named = new Set(written.map((parameter) => (parameter as { name?: string }).name));
  const inPath = [...template.matchAll(/\{(\w+)\}/g)]
    .filter(([, name]) => !named.has(name))
    .map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  const parameters = [...inPath, ...written];
  const id = [method.toLowerCase(), ...template.split(/[^\w]+/)].filter(Boolean).join('_');
  return {
    summary: `${method} ${template}`,
    tags: [mount.name],
    ...operation,
    // Each instance of a plugin has its own operations and its own tag.
    ...(operation.tags && {
      tags: operation.tags.map((tag) => (tag === mount.packageName ? mount.name : tag)),
    }),
    operationId:
      operation.operationId === undefined ? id : operationIdOf(operation.operationId, mount, method),
    ...(parameters.length > 0 && { parameters }),
    responses: {
      ...(operation.responses ?? { 200: { description: 'The response of the plugin.' } }),
      default: {
        description: 'An error.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function operationIdOf(written: string, { name, packageName }: Mounted, method: string): string {
  const id = `${written}_${method.toLowerCase()}`;
  return packageName === undefined ? id : `${name}_${id}`;
}
