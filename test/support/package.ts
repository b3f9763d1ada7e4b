import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, rename, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeFolder, writeFiles } from './server.js';

const run = promisify(execFile);
const project = fileURLToPath(new URL('../../../', import.meta.url));

let packed: Promise<string> | undefined;

/**
 * Lays node_modules of a folder out as an installation of the package would: the files of its tarball and its dependencies,
 * none of those that only its development needs, but for the ones that are asked for.
 */
export async function installPackage(folder: string, also: readonly string[] = []): Promise<void> {
  const modules = join(folder, 'node_modules');
  await mkdir(modules, { recursive: true });
  packed ??= pack();
  await run('tar', ['-xzf', await packed, '-C', modules]);
  await rename(join(modules, 'package'), join(modules, 'plugin-server'));
  const { stdout } = await run('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: project }).catch(
    (failed: { stdout: string }) => failed,
  );
  const needed = stdout.trim().split('\n').slice(1);
  const asked = also.map((name) => join(project, 'node_modules', name));
  for (const path of new Set([...needed, ...asked])) {
    const target = join(modules, relative(join(project, 'node_modules'), path));
    // What lies inside another package comes with it.
    if (target.slice(modules.length + 1).includes('node_modules')) continue;
    await mkdir(dirname(target), { recursive: true });
    await symlink(path, target);
  }
}

/** The package as it would be published. */
async function pack(): Promise<string> {
  const folder = await makeFolder();
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const { stdout } = await run(
    'npm',
    ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder],
    {
      cwd: project,
      env: { ...process.env, npm_config_cache: join(tmpdir(), 'plugin-server-npm') },
    },
  );
  return join(folder, stdout.trim().split('\n').at(-1)!);
}

/** What tsc --strict says of TypeScript files in a folder where the package is installed; '' where it is content. */
export async function typeCheck(folder: string, files: Readonly<Record<string, string>>): Promise<string> {
  await writeFiles(folder, {
    ...files,
    'package.json': '{ "type": "module" }',
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        strict: true,
        noEmit: true,
        module: 'nodenext',
        target: 'es2023',
        types: ['node'],
        skipLibCheck: true,
        preserveSymlinks: true,
      },
      files: Object.keys(files),
    }),
  });
  const { stdout } = await run(process.execPath, [
    join(project, 'node_modules/typescript/bin/tsc'),
    '-p',
    folder,
  ]).catch((failed: { stdout: string }) => failed);
  return stdout.trim();
}
