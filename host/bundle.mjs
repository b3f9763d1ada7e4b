// Bundles the server and the packages that every start needs into dist/bundle/: a start then reads a dozen files, not
// four hundred, in less than three quarters of the time. What is loaded on demand stays where npm has put it.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../', import.meta.url));
const target = `${root}dist/bundle/`;
const { dependencies, exports: modules } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

/** Imported by what a start needs; each of the other dependencies is imported on demand or by a plugin. */
const atStart = [
  '@hapi/bourne',
  '@koa/cors',
  '@koa/router',
  'commander',
  'fastest-levenshtein',
  'ini',
  'ipaddr.js',
  'jsonc-parser',
  'koa',
  'koa-compose',
  'pino',
  'prom-client',
  'zod',
];

/** `kit` from `./dist/bundle/kit.js`, with the compiled module that it is made from. */
const kit = Object.values(modules).flatMap(({ 'plugin-server-bundle': file, default: source } = {}) =>
  file === undefined ? [] : [[file.slice('./dist/bundle/'.length, -'.js'.length), source]],
);

rmSync(target, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: {
    cli: 'dist/host/cli.js',
    worker: 'dist/host/worker/index.js',
    'loader-hooks': 'dist/host/prepare/loader-hooks.js',
    ...Object.fromEntries(kit),
  },
  outdir: target,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // jsonc-parser's CommonJS form cannot be bundled.
  mainFields: ['module', 'main'],
  external: Object.keys(dependencies).filter((name) => !atStart.includes(name)),
  // What is CommonJS asks for Node's own modules with it.
  banner: {
    js: `import { createRequire as requireFrom } from 'node:module';const require = requireFrom(import.meta.url);`,
  },
  metafile: true,
  // For `npm run coverage`: what a worker runs then counts for the file that it was written in.
  sourcemap: process.argv.includes('--sourcemap') && 'linked',
  logLevel: 'warning',
});

// The licences of what is bundled ask to go along with it.
const folders = new Set(
  Object.keys(metafile.inputs).flatMap(
    (file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [],
  ),
);
const licences = [...folders].sort().map((folder) => {
  const { name, license } = JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8'));
  const file = readdirSync(root + folder).find((each) => /^licen[cs]e/i.test(each));
  return `${name} (${license})\n\n${file === undefined ? '' : readFileSync(`${root}${folder}/${file}`, 'utf8')}`;
});
writeFileSync(`${target}licences.txt`, licences.join('\n'));
