import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import type { Store } from '../../../../plugins/sessman/store.js';

/** The session manager of version 0.1.0, as its own code, built from this repository's history. */
export interface Version010 {
  readonly Sessions: new (store: object, limits: object, options: { now: () => number }) => Sessions010;
  readonly EmbeddedStore: { open(folder: string): Pick<Store, 'close'> };
  readonly MongoStore: { open(options: object): Promise<Pick<Store, 'close'>> };
}

/** Its calls, as far as tests use them. */
export interface Sessions010 {
  create(userid: string, data?: object, chosenId?: string): Promise<Session010>;
  get(id: string, userid?: string): Promise<Session010> | Session010;
  update(id: string, data: object): Promise<Session010>;
  patch(id: string, data: object): Promise<Session010>;
  touch(id: string): Promise<Session010>;
  renew(id: string): Promise<Session010>;
  end(id: string): Promise<void>;
  list(userid: string): Promise<{ handle: string }[]>;
  endAll(userid: string): Promise<number>;
}

interface Session010 {
  readonly id: string;
  readonly userid: string;
  readonly data: string;
  readonly version: number;
  readonly created: number;
  readonly expires: number;
}

const commit = '8dd134e84f412ed584e9644ebc9ed4c4c904b92d';
const run = promisify(execFile);

let loaded: Promise<Version010> | undefined;

export function version010(): Promise<Version010> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Version010> {
  const root = fileURLToPath(new URL('../../../../../', import.meta.url));
  await mkdir(join(root, 'dist'), { recursive: true });
  // Within the project, where the packages that it imports are found.
  const folder = await mkdtemp(join(root, 'dist', 'version-0.1.0-'));
  try {
    const archive = join(folder, 'source.tar');
    await run('git', ['archive', '-o', archive, commit, 'plugins/sessman', 'host', 'config'], { cwd: root });
    await run('tar', ['-xf', archive, '-C', folder]);
    const entry = join(folder, 'entry.ts');
    await writeFile(
      entry,
      `export * from './plugins/sessman/sessions.js';
       export * from './plugins/sessman/stores/embedded.js';
       export * from './plugins/sessman/stores/mongodb.js';`,
    );
    const outfile = join(folder, 'version-0.1.0.mjs');
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['lmdb', 'mongodb', 'zod', 'koa', 'koa-*', '@koa/*', 'pino', 'jiti', 'prom-client'],
      alias: { 'plugin-server': join(folder, 'host', 'plugin.ts') },
      logLevel: 'silent',
    });
    return (await import(outfile)) as Version010;
  } finally {
    await rm(folder, { recursive: true });
  }
}
