// Type-checks and bundles the admin page into dist/plugins/admin/page/. It fails when the page grows too large.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bytes of all files together, each compressed by gzip. */
const LIMIT = 60_000;

const source = new URL('./', import.meta.url);
const root = new URL('../../../', source);
const target = new URL('dist/plugins/admin/page/', root);
const path = (name, base = source) => fileURLToPath(new URL(name, base));

execFileSync(process.execPath, [path('node_modules/typescript/bin/tsc', root), '-p', path('tsconfig.json')], {
  stdio: 'inherit',
});
mkdirSync(target, { recursive: true });
await build({
  entryPoints: { page: path('main.tsx') },
  outdir: fileURLToPath(target),
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
});
for (const name of ['index.html', 'icon.svg']) copyFileSync(path(name), path(name, target));
// The licences of what is bundled ask to go along with it.
const licences = ['preact', 'uplot'].map((name) => {
  return `${name}\n\n${readFileSync(path(`node_modules/${name}/LICENSE`, root), 'utf8')}`;
});
writeFileSync(path('licences.txt', target), licences.join('\n'));

const sizes = ['index.html', 'page.js', 'page.css', 'icon.svg'].map((name) => {
  return [name, gzipSync(readFileSync(path(name, target)), { level: 9 }).length];
});
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
if (total > LIMIT) {
  console.error(
    `The admin page has ${total} bytes compressed, more than ${LIMIT}:`,
    Object.fromEntries(sizes),
  );
  process.exitCode = 1;
}
if (process.argv.includes('--sizes')) console.log({ ...Object.fromEntries(sizes), total });
